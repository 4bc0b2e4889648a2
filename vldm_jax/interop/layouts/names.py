"""One table of names: our parameter paths and the keys of diffusers and transformers.

Our trees are named like theirs on purpose, so the table is short:

    down_blocks_0/resnets_1/conv1/kernel         down_blocks.0.resnets.1.conv1.weight
    .../to_out_0/kernel, norm1/scale             .../to_out.0.weight, norm1.weight

and, where spatial layers have temporal ones beside them,

    resnets_1/conv1/kernel                       resnets.1.spatial_res_block.conv1.weight
    temporal_resnets_1/conv1/kernel              resnets.1.temporal_res_block.conv1.weight
    temporal_resnets_1/mixer/logit               resnets.1.time_mixer.mix_factor
    temporal_attentions_1/attn1/...              attentions.1.temporal_transformer_blocks.0.attn1...
    temporal_attentions_1/position/linear_1/...  attentions.1.time_pos_embed.linear_1...
    temporal_motion_modules_1/...                motion_modules.1...

Every other layout is first brought to these keys (`original`, `text`, `motion`). Kernels are
(space..., in, out) here and (out, in, space...) there; axes of size 1 come and go between layouts
(1x1 convolution or linear, 3-D convolution over frames), the values never change.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor

LISTS = (
    "down_blocks",
    "up_blocks",
    "resnets",
    "attentions",
    "motion_modules",
    "downsamplers",
    "upsamplers",
    "transformer_blocks",
    "to_out",
    "net",
    "layers",
)
_LIST = re.compile(rf"\b({'|'.join(LISTS)})_(\d+)\b")
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "bias": "bias",
    "logit": "mix_factor",
}
_FLOATS = ("float32", "float16", "bfloat16")

Key = Callable[[str], str]


def image_key(path: str) -> str:
    """Return diffusers' or transformers' key of a path in a network without temporal layers."""
    *parents, leaf = path.split("/")
    return ".".join([_LIST.sub(r"\1.\2", "/".join(parents)).replace("/", "."), _LEAVES[leaf]])


def video_key(path: str) -> str:
    """Return the key in UNetSpatioTemporalConditionModel or a temporal decoder."""
    if path.startswith("encoder/"):  # of an autoencoder: it sees images
        return image_key(path)
    path = re.sub(r"\btemporal_(resnets|attentions)_(\d+)/mixer/", r"\1_\2/time_mixer/", path)
    path = re.sub(r"\btemporal_resnets_(\d+)/", r"resnets_\1/temporal_res_block/", path)
    path = re.sub(r"\btemporal_attentions_(\d+)/position/", r"attentions_\1/time_pos_embed/", path)
    path = re.sub(
        r"\btemporal_attentions_(\d+)/",
        r"attentions_\1/temporal_transformer_blocks.0/",
        path,
    )
    path = re.sub(
        r"\bresnets_(\d+)/(?!temporal_res_block|time_mixer)", r"resnets_\1/spatial_res_block/", path
    )
    path = path.replace("temporal_conv_out/", "time_conv_out/")
    return image_key(path)


def motion_key(path: str) -> str:
    """Return the key in a U-Net with AnimateDiff's motion modules."""
    return image_key(path.replace("temporal_motion_modules_", "motion_modules_"))


def reversed_mix(path: str) -> bool:
    """Return whether diffusers stores this mix the other way round: logit = -mix_factor.

    Its temporal decoder blends sigmoid(mix_factor) * temporal, all else blends it with spatial.
    """
    return path.startswith("decoder/") and path.endswith("/mixer/logit")


def gather(
    where: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Any], key_of: Key
) -> dict[str, Tensor]:
    """Return {path: tensor as our layout has it}: every expected one, and nothing left over.

    Args:
        where: the checkpoint, for messages.
        tensors: by the keys of a public class.
        expected: {path: shape struct} of the module.
        key_of: path -> key.

    Raises:
        InputError: naming the first key that is missing, unknown or of another shape or type.
    """
    keys = {path: key_of(path) for path in expected}
    _check_keys(where, tensors, set(keys.values()))
    return {path: ours(path, tensors[key], expected[path].shape) for path, key in keys.items()}


def check_own(
    where: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return the tensors of a weights file of ours if they are the expected ones; as `gather`."""
    _check_keys(where, tensors, set(expected))
    for path, tensor in tensors.items():
        _check_shape(tensor, tensor.shape == expected[path].shape, expected[path].shape)
    return dict(tensors)


def _check_keys(where: str, tensors: Mapping[str, Tensor], wanted: set[str]) -> None:
    if missing := sorted(wanted - tensors.keys()):
        raise InputError(f"{where} lacks {missing[0]!r}{_more(missing)}, which its network has")
    if extra := sorted(tensors.keys() - wanted):
        names = [tensors[name].key for name in extra]
        raise InputError(f"{where} holds {names[0]!r}{_more(names)}, which its network has not")


def _check_shape(tensor: Tensor, fits: bool, needed: tuple[int, ...]) -> None:
    if not fits:
        raise InputError(
            f"{tensor.file}: {tensor.key!r} has the shape {tensor.shape}, its network needs "
            f"{tuple(needed)}"
        )
    if tensor.dtype.name not in _FLOATS:
        raise InputError(
            f"{tensor.file}: {tensor.key!r} has the type {tensor.dtype.name}; weights must be one "
            f"of {', '.join(_FLOATS)}"
        )


def ours(path: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a foreign tensor as the view that the parameter at `path` is.

    Raises:
        InputError: if shape or type do not fit.
    """
    axes = _axes_to_foreign(path, len(shape))
    foreign = tuple(shape[axis] for axis in axes)
    _check_shape(tensor, _trimmed(foreign) == _trimmed(tensor.shape), foreign)
    view = tensor.with_unit_axes(foreign).transpose(tuple(np.argsort(axes).tolist()))
    return view.negative() if reversed_mix(path) else view


def theirs(path: str, array: np.ndarray) -> np.ndarray:
    """Return a parameter as diffusers stores it, in one piece."""
    array = array.transpose(_axes_to_foreign(path, array.ndim))
    if path.endswith("/kernel") and array.ndim == 3:  # over frames: a 3-D convolution there
        array = array[..., None, None]
    if path.endswith("/logit"):
        array = array.reshape(1)
    return np.ascontiguousarray(-array if reversed_mix(path) else array)


def _axes_to_foreign(path: str, ndim: int) -> tuple[int, ...]:
    if not path.endswith("/kernel"):
        return tuple(range(ndim))
    return (ndim - 1, ndim - 2, *range(ndim - 2))


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
