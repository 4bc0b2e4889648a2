"""AnimateDiff's motion modules: the original files and diffusers' MotionAdapter.

The original names each module's parts differently and stores its positions, which are a formula:

    temporal_transformer.{norm, proj_in, proj_out}              norm, proj_in, proj_out
    ...transformer_blocks.0.attention_blocks.{0, 1}             transformer_blocks.0.attn{1, 2}
    ...norms.{0, 1}, ff_norm                                    norm{1, 2}, norm3
    ...attention_blocks.0.pos_encoder.pe                        -
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.layouts import unet
from vldm_jax.interop.settings import require
from vldm_jax.nn.motion import frame_positions

CLASS = "MotionAdapter"
UNET_CLASS = "UNetMotionModel"
# Options of the class that are not supported otherwise.
FIXED = {
    "motion_transformer_layers_per_block": 1,
    "motion_mid_block_layers_per_block": 1,
    "motion_transformer_layers_per_mid_block": 1,
    "conv_in_channels": None,
}
UNET_FIXED = {
    "mid_block_layers": 1,
    "temporal_transformer_layers_per_block": 1,
    "temporal_transformer_layers_per_mid_block": 1,
}
UNET_SETTINGS = (
    "in_channels",
    "out_channels",
    "layers_per_block",
    "downsample_padding",
    "mid_block_scale_factor",
    "act_fn",
    "norm_num_groups",
    "norm_eps",
    "cross_attention_dim",
    "transformer_layers_per_block",
    "use_linear_projection",
)
_RENAMES = (
    (r"\.temporal_transformer\.", "."),
    (r"\.attention_blocks\.0\.", ".attn1."),
    (r"\.attention_blocks\.1\.", ".attn2."),
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
)
_NORM = re.compile(r".*\.motion_modules\.\d+\.transformer_blocks\.\d+\.norm1\.weight$")
_POSITIONS = re.compile(r".*\.(pos_encoder|pos_embed)\.pe$")


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by diffusers' keys, stored positions included."""
    out = {}
    for key, tensor in tensors.items():
        for pattern, replacement in _RENAMES:
            key = re.sub(pattern, replacement, key)
        out[key] = tensor
    return out


def without_positions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without stored positions, which the network computes.

    Raises:
        InputError: naming the first table that is no such formula, as some fine-tuned modules have.
    """
    for tensor in _tables(tensors):
        table = np.asarray(frame_positions(tensor.shape[1], tensor.shape[2]))
        if np.abs(tensor.array()[0].astype(np.float32) - table).max() > 4e-3:  # bfloat16's half ulp
            raise InputError(
                f"{tensor.file}: {tensor.key!r} is no sinusoid of the frame's number; modules with "
                "positions of their own are not supported"
            )
    return {key: tensor for key, tensor in tensors.items() if not _POSITIONS.match(key)}


def max_frames(tensors: Mapping[str, Tensor]) -> int | None:
    """Return how many positions a file of the original stores, None where it has none.

    Raises:
        InputError: if modules differ.
    """
    lengths = {t.shape[1]: t.key for t in _tables(tensors)}
    if len(lengths) > 1:
        raise InputError(
            f"{next(iter(tensors.values())).file}: motion modules with different numbers of "
            f"positions, {sorted(lengths)}, as {sorted(lengths.values())[0]!r}"
        )
    return next(iter(lengths), None)


def _tables(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the stored positions, each (1, frames, width)."""
    tables = [tensor for key, tensor in tensors.items() if _POSITIONS.match(key)]
    for table in tables:
        if len(table.shape) != 3 or table.shape[0] != 1:
            raise InputError(
                f"{table.file}: {table.key!r} has the shape {table.shape}, positions have "
                "(1, frames, width)"
            )
    return tables


def absent_parts(widths: Mapping[str, int], fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the tables of positions that diffusers' classes store and our network computes.

    Args:
        widths: width of each parameter by diffusers' key.
        fields: of the video `UNet`.
    """
    norms = [key for key in widths if _NORM.match(key)]
    frames = fields["temporal"]["max_frames"]
    return {
        f"{key.removesuffix('norm1.weight')}pos_embed.pe": np.asarray(
            frame_positions(frames, widths[key])
        )[None]
        for key in norms
    }


def fields(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a video `UNet` without attention that the modules fit.

    Of the backbone, modules depend on widths, depth and groups only.

    Args:
        tensors: by diffusers' keys, stored positions included.
        config: of diffusers' MotionAdapter, or None: 8 heads, 32 groups, 32 frames where no
            positions are stored.

    Raises:
        InputError: if modules are missing, or have a number of heads a level.
    """
    levels = unet.count(tensors, r"down_blocks\.(\d+)\.")
    norms = [f"down_blocks.{i}.motion_modules.0.norm.weight" for i in range(levels)]
    channels = tuple(unet.size(tensors, name, 0) for name in norms)
    given = config or {}
    return {
        "channels": channels,
        "attention": (False,) * levels,
        "layers_per_level": unet.count(tensors, r"down_blocks\.0\.motion_modules\.(\d+)\."),
        "norm_groups": given.get("motion_norm_num_groups", 32),
        "heads": 1,
        "temporal": _temporal(tensors, given),
    }


def unet_fields(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a video `UNet` of a whole UNetMotionModel; as `fields`."""
    backbone = {key: tensor for key, tensor in tensors.items() if ".motion_modules." not in key}
    if config is not None:  # here the class says heads and means heads
        config = {**config, "attention_head_dim": config.get("num_attention_heads", 8)}
    return unet.fields(backbone, config) | {"temporal": _temporal(tensors, config or {})}


def _temporal(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `MotionSpec`."""
    heads = config.get("motion_num_attention_heads", 8)
    if isinstance(heads, list):  # one a level, as the class has it; all levels are one spec here
        if not heads or any(number != heads[0] for number in heads):
            raise InputError(
                f"motion_num_attention_heads = {heads} is not supported: modules of all levels "
                "must have one number of heads"
            )
        heads = heads[0]
    return {
        "family": "animatediff",
        "heads": heads,
        "max_frames": max_frames(tensors) or config.get("motion_max_seq_length", 32),
        "middle": "mid_block.motion_modules.0.norm.weight" in tensors,
    }


def config_of(fields: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Return diffusers' config of the motion modules of a video `UNet`.

    Args:
        fields: of the video `UNet`.
        in_channels: as other formats have it; the modules see features only.

    Raises:
        InputError: naming a field that the class cannot express.
    """
    del in_channels
    return {
        **FIXED,
        **_common(fields),
        "motion_layers_per_block": fields["layers_per_level"],
        "motion_norm_num_groups": fields["norm_groups"],
    }


def unet_config_of(fields: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Return diffusers' config of a whole UNetMotionModel.

    Raises:
        InputError: naming a field that the class cannot express.
    """
    require(UNET_CLASS, fields, num_classes=None)
    require(UNET_CLASS, {"only_cross_attention": any(fields["only_cross_attention"])},
            only_cross_attention=False)  # fmt: skip
    config = unet.config_of(fields, in_channels)
    kept = {name: config[name] for name in UNET_SETTINGS}
    kinds = {
        name: [kind.replace("2D", "Motion") for kind in config[name]]
        for name in ("down_block_types", "up_block_types")
    }
    heads = {"num_attention_heads": unet.heads_of(fields)}
    return UNET_FIXED | kept | kinds | heads | _common(fields)


def _common(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that both classes have."""
    temporal = fields["temporal"]
    require(CLASS, temporal, joint_norm=True)
    return {
        "block_out_channels": list(fields["channels"]),
        "motion_num_attention_heads": temporal["heads"],
        "motion_max_seq_length": temporal["max_frames"],
        "use_motion_mid_block": temporal["middle"],
    }
