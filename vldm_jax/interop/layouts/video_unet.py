"""Video U-Nets: diffusers' UNetSpatioTemporalConditionModel (Stable Video Diffusion).

The skeletons line up: a temporal residual block after each spatial one, a temporal transformer in
each spatial one, a learned mix. What the class fixes and this library leaves open is refused by
name on export; what it has and a network of ours lacks (the embedding of added time ids) is written
as zeros, which is exact.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.layouts import unet
from vldm_jax.interop.settings import require

CLASS = "UNetSpatioTemporalConditionModel"
TIME_IDS, TIME_WIDTH = 3, 256  # fps - 1, motion bucket, noise augmentation; as published
ORIGINAL_EPS = 1e-5  # of all norms in the original code; diffusers' class has `stage_eps`


def fields(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a video `UNet`.

    Args:
        tensors: by diffusers' keys.
        config: of diffusers, or None.

    Raises:
        InputError: if the keys make no video U-Net, or config and shapes contradict each other.
    """
    shaped = unet.fields_of_tensors(tensors)
    width = TIME_WIDTH if config is None else config.get("addition_time_embed_dim", TIME_WIDTH)
    total = unet.size(tensors, "add_embedding.linear_1.weight", 1)
    if total % width:
        raise InputError(
            f"{next(iter(tensors.values())).file}: 'add_embedding.linear_1.weight' takes {total} "
            f"values, which is no multiple of {width} a time id"
        )
    if config is None:
        heads = unet.usual_fields(shaped)
    else:
        given = config.get("num_attention_heads", [5, 10, 20, 20])
        heads = unet.heads_fields(given, shaped["channels"])
    return {
        **shaped,
        **heads,
        "temporal": {},
        "added_time_ids": total // width,
        "added_time_width": width,
        "norm_eps": stage_eps(shaped["attention"]),
    }


def original_fields(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the fields of a video `UNet` of the original code; as `fields`."""
    return fields(tensors, config) | {"norm_eps": ORIGINAL_EPS}


def stage_eps(attention: tuple[bool, ...]) -> tuple[float, ...]:
    """Return the epsilons of the class's residual blocks: down stages, middle, up stages."""
    down = tuple(1e-6 if has else 1e-5 for has in attention)
    return (*down, 1e-5, *(1e-6 for _ in attention))


def config_of(fields: Mapping[str, Any], in_channels: int) -> dict[str, Any]:
    """Return diffusers' config of a video `UNet`; its norms' epsilons are the class's own.

    Raises:
        InputError: naming a field that the class cannot express.
    """
    # A file from before there was the choice has the convolutions, and joint norms.
    former = {"convolutions": True, "norms": "joint"}
    require(CLASS, former | fields["temporal"], mix="scalar", positions="absolute",
            max_frame_distance=None, convolutions=True, norms="joint")  # fmt: skip
    require(CLASS, fields, label_tokens=(), num_classes=None, norm_groups=32)
    require(CLASS, {"only_cross_attention": any(fields["only_cross_attention"])},
            only_cross_attention=False)  # fmt: skip
    unet.require_text(CLASS, fields)
    ids = fields.get("added_time_ids", 0) or TIME_IDS
    width = fields.get("added_time_width", TIME_WIDTH)
    heads = unet.heads_of(fields)
    levels = fields["attention"]
    return {
        "in_channels": in_channels,
        "out_channels": fields["out_channels"],
        "block_out_channels": list(fields["channels"]),
        "down_block_types": [
            f"{'CrossAttn' if has else ''}DownBlockSpatioTemporal" for has in levels
        ],
        "up_block_types": [
            f"{'CrossAttn' if has else ''}UpBlockSpatioTemporal" for has in levels[::-1]
        ],
        "layers_per_block": fields["layers_per_level"],
        "addition_time_embed_dim": width,
        "projection_class_embeddings_input_dim": ids * width,
        "cross_attention_dim": fields["context_dim"],
        "transformer_layers_per_block": 1,
        "num_attention_heads": [heads] * len(levels) if isinstance(heads, int) else heads,
    }


def deviations(fields: Mapping[str, Any]) -> list[str]:
    """Return what an export changes in late digits, a sentence each; mostly nothing."""
    wanted = stage_eps(tuple(fields["attention"]))
    have = fields["norm_eps"]
    have = (have,) * len(wanted) if isinstance(have, int | float) else tuple(have)
    if have == wanted:
        return []
    return [
        f"{CLASS} fixes the epsilon of the residual blocks' norms at {wanted} (down, middle, up), "
        f"this network was made with {have}: outputs differ by about 1e-4 of their standard "
        "deviation; make the network with norm_eps = the former to have them equal"
    ]


def stored(key: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return key and array as the class has them: what is a 1x1 convolution in SD 1.x is linear."""
    if key.endswith((".proj_in.weight", ".proj_out.weight")):
        array = array.reshape(array.shape[:2])
    return key, array


def absent_parts(widths: Mapping[str, int], fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return tensors that the class has and the network lacks, as zeros: they add nothing.

    Args:
        widths: as other formats have it; the fields tell.
        fields: of the video `UNet`.
    """
    del widths
    if fields.get("added_time_ids", 0):
        return {}
    width = 4 * fields["channels"][0]
    ids = TIME_IDS * fields.get("added_time_width", TIME_WIDTH)
    shapes = {
        "add_embedding.linear_1.weight": (width, ids),
        "add_embedding.linear_1.bias": (width,),
        "add_embedding.linear_2.weight": (width, width),
        "add_embedding.linear_2.bias": (width,),
    }
    return {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
