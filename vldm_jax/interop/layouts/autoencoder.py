"""Autoencoders: diffusers' AutoencoderKL and AutoencoderKLTemporalDecoder."""

import math
import re
from collections.abc import Mapping
from typing import Any

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.layouts.unet import count, size
from vldm_jax.interop.settings import require

CLASS = "AutoencoderKL"
VIDEO_CLASS = "AutoencoderKLTemporalDecoder"
# Before diffusers 0.18 the middle attention had these names.
OLD_ATTENTION = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
# Where a file has no scale: Stable Diffusion's (f = 8) and the x4 upscaler's (f = 4).
SCALES = {4: 0.18215, 3: 0.08333}
MIDDLE_RESNETS = 2


def modern(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under today's names of the middle attention."""
    pattern = re.compile(rf"(mid_block\.attentions\.0\.)({'|'.join(OLD_ATTENTION)})\.")
    return {
        pattern.sub(lambda match: f"{match[1]}{OLD_ATTENTION[match[2]]}.", key): tensor
        for key, tensor in tensors.items()
    }


def fields(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of an `Autoencoder`: what shapes tell, and what the config or custom tells.

    Args:
        tensors: by diffusers' keys.
        config: of diffusers, or None; a missing scale is diffusers' default.

    Raises:
        InputError: if the keys make no autoencoder, or the scale is no positive number.
    """
    shaped = fields_of_tensors(tensors)
    if config is None:
        return shaped
    return shaped | {
        "norm_groups": config.get("norm_num_groups", 32),
        "latent_scale": _scale(config),
    }


def _scale(config: Mapping[str, Any]) -> float:
    """Return what raw latents are multiplied by; nothing but this line would notice a wrong one."""
    scale = config.get("scaling_factor")
    if scale is None:
        return SCALES[4]
    # of bool, which is an int, and JSON's NaN and Infinity no network can be made either
    if type(scale) not in (int, float) or not 0 < scale < math.inf:
        raise InputError(f"scaling_factor = {scale!r} is no positive number: correct the entry")
    return float(scale)


def fields_of_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of `Autoencoder` that shapes tell.

    Args:
        tensors: by diffusers' keys.

    Raises:
        InputError: if the keys make no autoencoder, or one of another build than diffusers'.
    """
    levels = count(tensors, r"encoder\.down_blocks\.(\d+)\.")
    widths = [
        size(tensors, f"encoder.down_blocks.{i}.resnets.0.conv1.weight", 0) for i in range(levels)
    ]
    if not widths:
        raise InputError(
            f"{next(iter(tensors.values())).file} holds no whole autoencoder: it lacks "
            "'encoder.down_blocks.0.resnets.0.conv1.weight'"
        )
    base = math.gcd(*widths)
    temporal = "decoder.time_conv_out.weight" in tensors
    if temporal and count(tensors, r"decoder\.mid_block\.resnets\.(\d+)\.") != MIDDLE_RESNETS:
        raise InputError(
            f"{next(iter(tensors.values())).file}: a temporal decoder with another number than "
            f"{MIDDLE_RESNETS} of residual blocks in the middle is not supported"
        )
    return {
        "base": base,
        "mult": tuple(width // base for width in widths),
        "blocks": count(tensors, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "latent_channels": size(tensors, "decoder.conv_in.weight", 1),
        "in_channels": size(tensors, "encoder.conv_in.weight", 1),
        "post_quant_conv": "post_quant_conv.weight" in tensors,
        "temporal_decoder": temporal,
        "latent_scale": SCALES.get(levels, SCALES[4]),
    }


def config_of(fields: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Return diffusers' config of an `Autoencoder`.

    Raises:
        InputError: naming a field that the class cannot express.
    """
    widths = [fields["base"] * m for m in fields["mult"]]
    config = {
        "in_channels": in_channels,
        "out_channels": in_channels,
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "layers_per_block": fields["blocks"],
        "latent_channels": fields["latent_channels"],
        "scaling_factor": fields["latent_scale"],
        "force_upcast": True,
    }
    if fields["temporal_decoder"]:
        require(VIDEO_CLASS, fields, norm_groups=32, blocks=MIDDLE_RESNETS, post_quant_conv=False)
        return config
    return config | {
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "norm_num_groups": fields["norm_groups"],
        "act_fn": "silu",
        "use_quant_conv": True,
        "use_post_quant_conv": fields["post_quant_conv"],
        "mid_block_add_attention": True,
    }
