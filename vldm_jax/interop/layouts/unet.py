"""Image U-Nets: diffusers' UNet2DConditionModel (SD 1.x, 2.x, the x4 upscaler)."""

import re
from collections.abc import Mapping
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.settings import require

CLASS = "UNet2DConditionModel"
# Options of the class that these networks don't use; a config that sets another value is refused.
FIXED = {
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "act_fn": "silu",
    "transformer_layers_per_block": 1,
    "dual_cross_attention": False,
    "class_embed_type": None,
    "addition_embed_type": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "resnet_time_scale_shift": "default",
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "class_embeddings_concat": False,
    "mid_block_only_cross_attention": None,
}


def fields(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a `UNet`: what shapes tell, and what the config or custom tells.

    Args:
        tensors: by diffusers' keys.
        config: of diffusers, or None.

    Raises:
        InputError: if the keys make no U-Net.
    """
    shaped = fields_of_tensors(tensors)
    return shaped | (usual_fields(shaped) if config is None else fields_of_config(config, shaped))


def fields_of_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of `UNet` that shapes tell: all but heads, groups and epsilons.

    Args:
        tensors: by diffusers' keys.

    Raises:
        InputError: if the keys make no U-Net.
    """
    levels = count(tensors, r"down_blocks\.(\d+)\.")
    for key in ("conv_in.weight", "down_blocks.0.resnets.0", "conv_out.weight"):
        if not any(name.startswith(key) for name in tensors):
            file = next(iter(tensors.values())).file
            raise InputError(f"{file} holds no whole U-Net: it lacks {key!r}")
    inner = "spatial_res_block." if any(".spatial_res_block." in key for key in tensors) else ""
    first = [f"down_blocks.{i}.attentions.0" for i in range(levels)]
    attention = tuple(f"{prefix}.norm.weight" in tensors for prefix in first)
    channels = tuple(
        size(tensors, f"down_blocks.{i}.resnets.0.{inner}conv1.weight", 0) for i in range(levels)
    )
    fields: dict[str, Any] = {
        "channels": channels,
        "attention": attention,
        "layers_per_level": count(tensors, r"down_blocks\.0\.resnets\.(\d+)\."),
        "out_channels": size(tensors, "conv_out.weight", 0),
        "context_dim": None,
        "only_cross_attention": (),
        "num_classes": None,
    }
    with_attention = [prefix for prefix, has in zip(first, attention, strict=True) if has]
    if with_attention:
        proj = tensors.get(f"{with_attention[0]}.proj_in.weight")
        fields["linear_projection"] = proj is None or len(proj.shape) == 2
        fields["context_dim"] = size(
            tensors, f"{with_attention[0]}.transformer_blocks.0.attn2.to_k.weight", 1
        )
        fields["only_cross_attention"] = _only_cross(tensors, channels, attention)
    if "class_embedding.weight" in tensors:
        fields["num_classes"] = size(tensors, "class_embedding.weight", 0)
    return fields


def fields_of_config(config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that only a config tells: heads, groups, epsilon.

    Args:
        config: of diffusers.
        fields: that shapes tell.

    Raises:
        InputError: if there is not one number of heads, or one a level.
    """
    # diffusers' attention_head_dim is the number of heads (its issue 2011).
    heads = config.get("attention_head_dim", 8)
    only = config.get("only_cross_attention")
    return {
        **heads_fields(heads, fields["channels"]),
        # The shapes tell it, too, but not where the context is as wide as the level.
        "only_cross_attention": tuple(only) if isinstance(only, list) and any(only) else (),
        "norm_groups": config.get("norm_num_groups", 32),
        "norm_eps": config.get("norm_eps", 1e-5),
    }


def usual_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file without a config most probably means.

    Stable Diffusion 2.x is known by its linear projections: heads of 64 channels. The others have
    8 heads: 1.x with convolutions as projections, the x4 upscaler with its class embedding.

    Args:
        fields: that shapes tell.
    """
    if fields.get("linear_projection", True) and fields["num_classes"] is None:
        return {"heads": None, "head_dim": 64}
    return {"heads": 8, "head_dim": None}


def config_of(fields: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Return diffusers' config of a `UNet`.

    Raises:
        InputError: naming a field that the class cannot express.
    """
    require(CLASS, fields, label_tokens=(), added_time_ids=0)
    require_text(CLASS, fields)
    eps = fields["norm_eps"]
    if not isinstance(eps, int | float):
        raise InputError(f"{CLASS} cannot express norm_eps = {eps}: it has one for all stages")
    only = tuple(fields["only_cross_attention"])
    return {
        **FIXED,
        "in_channels": in_channels,
        "out_channels": fields["out_channels"],
        "block_out_channels": list(fields["channels"]),
        "down_block_types": [
            "CrossAttnDownBlock2D" if has else "DownBlock2D" for has in fields["attention"]
        ],
        "up_block_types": [
            "CrossAttnUpBlock2D" if has else "UpBlock2D" for has in fields["attention"][::-1]
        ],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "layers_per_block": fields["layers_per_level"],
        "attention_head_dim": heads_of(fields),
        "cross_attention_dim": fields["context_dim"],
        "only_cross_attention": list(only) if any(only) else False,
        "use_linear_projection": fields["linear_projection"],
        "norm_num_groups": fields["norm_groups"],
        "norm_eps": eps,
        "num_class_embeds": fields["num_classes"],
    }


def require_text(cls: str, fields: Mapping[str, Any]) -> None:
    """Raise unless the network has transformers with cross-attention, as the classes want it."""
    if fields["context_dim"] is None or not any(fields["attention"]):
        raise InputError(
            f"{cls} cannot express context_dim = {fields['context_dim']} with attention = "
            f"{tuple(fields['attention'])}: it has cross-attention in some level and the middle"
        )


def heads_fields(heads: Any, channels: tuple[int, ...]) -> dict[str, Any]:
    """Return `heads` and `head_dim` for a number of heads, or one a level.

    Raises:
        InputError: if there is not one a level.
    """
    if isinstance(heads, int):
        return {"heads": heads, "head_dim": None}
    if len(heads) != len(channels):
        raise InputError(f"attention heads {list(heads)} are not one for each width {channels}")
    widths = {c // h for c, h in zip(channels, heads, strict=True)}
    if len(widths) == 1:
        return {"heads": None, "head_dim": widths.pop()}
    same = len(set(heads)) == 1
    return {"heads": heads[0] if same else tuple(heads), "head_dim": None}


def heads_of(fields: Mapping[str, Any]) -> Any:
    """Return the number of heads, or one a level."""
    if fields["head_dim"] is not None:
        return [width // fields["head_dim"] for width in fields["channels"]]
    heads = fields["heads"]
    return heads if isinstance(heads, int) else list(heads)


def count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many different numbers the group of `pattern` has at the start of keys."""
    return len({match[1] for key in tensors if (match := re.match(pattern, key))})


def size(tensors: Mapping[str, Tensor], key: str, axis: int) -> int:
    """Return the size of an axis of a tensor that must be there.

    Raises:
        InputError: if it is not, or has no such axis.
    """
    tensor = tensors.get(key)
    if tensor is None:
        some = next(iter(tensors.values()))
        raise InputError(f"{some.file} lacks {key!r}")
    if axis >= len(tensor.shape):
        raise InputError(f"{tensor.file}: {tensor.key!r} has the shape {tensor.shape}")
    return tensor.shape[axis]


def _only_cross(
    tensors: Mapping[str, Tensor], channels: tuple[int, ...], attention: tuple[bool, ...]
) -> tuple[bool, ...]:
    """Return the levels whose first attention takes keys from the context, seen by their width."""
    only = []
    for i, has in enumerate(attention):
        key = f"down_blocks.{i}.attentions.0.transformer_blocks.0.attn1.to_k.weight"
        only.append(has and size(tensors, key, 1) != channels[i])
    return tuple(only) if any(only) else ()
