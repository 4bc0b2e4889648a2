"""CLIP text encoders: transformers' CLIPTextModel in four layouts of keys.

    text_model.encoder.layers.N. ...                     files on the Hub; what an export writes
    encoder.layers.N. ...                                saved by transformers 5.6 and later
    cond_stage_model.transformer.text_model. ...         in a single file of SD 1.x
    cond_stage_model.model.transformer.resblocks.N. ...  OpenCLIP, in a single file of SD 2.x

OpenCLIP stores queries, keys and values as one matrix, and Stable Diffusion 2.x takes the output
of ViT-H/14's last block but one: a file with all its blocks has one too many.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.layouts.unet import count, size

CLASS = "CLIPTextModel"
# What a config says of the shapes; the rest of transformers' settings is about other things.
SHAPES = {
    "hidden_size",
    "vocab_size",
    "max_position_embeddings",
    "num_hidden_layers",
    "intermediate_size",
}
# Buffers, and projections of pooled outputs that diffusion models don't use.
IGNORED = re.compile(r"(.*position_ids|text_projection(\.weight)?|logit_scale|attn_mask)$")
# Stable Diffusion 2.x does not use the last of ViT-H/14's 24 blocks. diffusers' converters drop it,
# too, so a file that its tools wrote has 23 blocks, all of them used; so are those of other sizes.
_BLOCKS_WITH_UNUSED = 24
_OPENCLIP = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def is_openclip(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are OpenCLIP's."""
    return any(key.startswith("transformer.resblocks.") for key in tensors)


def flat(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under keys of the second layout; buffers are left out.

    Args:
        tensors: of any layout, without the prefix of a single file.
    """
    kept = {key: tensor for key, tensor in tensors.items() if not IGNORED.match(key)}
    if is_openclip(kept):
        return _from_openclip(kept)
    return {key.removeprefix("text_model."): tensor for key, tensor in kept.items()}


def _from_openclip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    blocks = count(tensors, r"transformer\.resblocks\.(\d+)\.")
    unused = blocks - 1 if blocks == _BLOCKS_WITH_UNUSED else None
    out = {}
    for key, tensor in tensors.items():
        match = re.match(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)$", key)
        joined = re.match(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$", key)
        block = match or joined
        if block and int(block[1]) == unused:
            continue
        if joined:
            third = tensor.shape[0] // 3
            for i, name in enumerate(("q_proj", "k_proj", "v_proj")):
                rows = tensor.rows(i * third, (i + 1) * third)
                out[f"encoder.layers.{joined[1]}.self_attn.{name}.{joined[2]}"] = rows
        elif match and match[2] in _BLOCK:
            out[f"encoder.layers.{match[1]}.{_BLOCK[match[2]]}.{match[3]}"] = tensor
        else:
            out[_OPENCLIP.get(key, key)] = tensor
    return out


def fields(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a `TextEncoder`: what shapes tell, and what the config or custom tells.

    Without a config, width 768 and less means ViT-L/14 (quick GELU), more OpenCLIP's ViT-H/14.

    Args:
        tensors: in the second layout.
        config: of transformers, or None.

    Raises:
        InputError: if the keys make no text encoder.
    """
    shaped = fields_of_tensors(tensors)
    if config is None:
        usual = {"heads": max(shaped["width"] // 64, 1)}
        return shaped | usual | {"activation": "quick_gelu" if shaped["width"] <= 768 else "gelu"}
    config = config.get("text_config", config)  # of a whole CLIP
    return shaped | {
        "heads": config.get("num_attention_heads", 8),
        "activation": config.get("hidden_act", "quick_gelu"),
        "eps": config.get("layer_norm_eps", 1e-5),
    }


def openclip_fields(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the fields of OpenCLIP's `TextEncoder`, as `fields`: it has GELU at any width."""
    return fields(tensors, config) | ({"activation": "gelu"} if config is None else {})


def fields_of_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of `TextEncoder` that shapes tell; tensors in the second layout.

    Raises:
        InputError: naming a key that is missing.
    """
    return {
        "width": size(tensors, "embeddings.token_embedding.weight", 1),
        "vocab_size": size(tensors, "embeddings.token_embedding.weight", 0),
        "max_tokens": size(tensors, "embeddings.position_embedding.weight", 0),
        "layers": count(tensors, r"encoder\.layers\.(\d+)\."),
        "mlp_width": size(tensors, "encoder.layers.0.mlp.fc1.weight", 0),
    }


def config_of(fields: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Return transformers' config of a `TextEncoder`.

    Args:
        fields: of the `TextEncoder`.
        in_channels: as other formats have it; text has no channels.
    """
    del in_channels
    return {
        "model_type": "clip_text_model",
        "hidden_size": fields["width"],
        "vocab_size": fields["vocab_size"],
        "max_position_embeddings": fields["max_tokens"],
        "num_hidden_layers": fields["layers"],
        "intermediate_size": fields["mlp_width"],
        "num_attention_heads": fields["heads"],
        "hidden_act": fields["activation"],
        "layer_norm_eps": fields["eps"],
        "attention_dropout": 0.0,
        "bos_token_id": fields["vocab_size"] - 2,
        "eos_token_id": fields["vocab_size"] - 1,
        "pad_token_id": 1,
        "projection_dim": 512,
    }


def stored(key: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return key and array in the first layout, which an export writes."""
    return f"text_model.{key}", array


def check_whole(tensors: Mapping[str, Tensor]) -> None:
    """Raise if a text encoder's file holds an image encoder, too.

    Raises:
        InputError: naming the first of its keys.
    """
    for key, tensor in tensors.items():
        if key.startswith(("vision_model.", "visual.")):
            raise InputError(
                f"{tensor.file} holds an image encoder ({tensor.key!r}) beside the text encoder: "
                "give a file of the text encoder alone"
            )
