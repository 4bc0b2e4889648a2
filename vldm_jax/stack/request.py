"""What a video of the stack is to be: labels by name, frames that it goes on from, futures."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.data.folder import read_folder
from vldm_jax.data.source import decode_clip
from vldm_jax.data.still import is_still, read_still
from vldm_jax.data.transforms import resize_crop
from vldm_jax.stack.plan import CONTEXT, Part
from vldm_jax.typing import Conditioning, UInt8

ASPECT = 0.02  # relative difference of aspects that is cut away without a word


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        labels: {name: value}; others are unknown.
        context: (k H W 3) frames at the key frames' rate that the video begins with, or None.
        futures: videos, from the same first frame.
        seed: of all that is drawn.
    """

    labels: Mapping[str, float]
    context: UInt8[np.ndarray, "k h w 3"] | None
    futures: int
    seed: int

    def of(self, part: Part, count: int) -> Conditioning:
        """Return what `count` samples of a part are asked for, every array leading with it.

        Raises:
            InputError: for a label that the part does not take.
        """
        if part.kind == "decoder":
            return {}
        request = part.stage.request(count)
        names = tuple(part.config.data.labels)
        if not self.labels or (part.kind == "upsampler" and not names):
            return request
        if unknown := sorted(self.labels.keys() - set(names)):
            known = f"it takes {', '.join(names)}" if names else "it takes no labels"
            raise InputError(f"--labels: {part.name} has no label {unknown[0]!r}; {known}")
        if "labels" not in request:
            raise InputError(f"--labels: {part.name} takes no labels; leave them out")
        row = [self.labels.get(name, np.nan) for name in names]
        return {**request, "labels": np.tile(np.array(row, np.float32), (count, 1))}


def parse_labels(text: str | None) -> dict[str, float]:
    """Return {name: value} of "night=1,cars=4".

    Raises:
        InputError: if it is written otherwise.
    """
    found: dict[str, float] = {}
    for word in (text or "").split(",") if text else ():
        name, equals, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = np.nan
        if not equals or not name.strip() or name.strip() in found or not np.isfinite(number):
            raise InputError(f"--labels {text!r}: write NAME=NUMBER,NAME=NUMBER, each name once")
        found[name.strip()] = number
    return found


def read_context(
    path: str, part: Part, *, crop: bool = False
) -> tuple[UInt8[np.ndarray, "k h w 3"], str]:
    """Return the frames that a video begins with, at a part's size and rate, and a line on them.

    Args:
        path: an image, or a video of which the last frames at the part's rate are taken.
        part: that goes on from them.
        crop: take a file of another aspect, cut at its sides.

    Raises:
        InputError: if it is neither, too small, too short, or of another aspect.
    """
    data = part.config.data
    if is_still(path):
        image = read_still(path)
        _check_shape(path, image.shape[0], image.shape[1], part, crop)
        return resize_crop(image, data.height, data.width)[None], f"begins with the image {path}"
    folder = read_folder(Path(path), cuts=False)
    entry = folder.entries[0]
    _check_shape(path, entry.video.height, entry.video.width, part, crop)
    times = entry.video.times
    wanted = times[-1] - np.arange(CONTEXT)[::-1] / float(data.fps)
    wanted = wanted[wanted >= -1e-6]
    frames = np.unique(np.maximum(np.searchsorted(times, wanted + 1e-3, side="right") - 1, 0))
    clip = decode_clip(entry, frames, data.height, data.width)
    seconds = ", ".join(f"{times[i]:.2f} s" for i in frames)
    return clip, f"begins with the frames of {path} at {seconds}"


def _check_shape(path: str, height: int, width: int, part: Part, crop: bool) -> None:
    data = part.config.data
    if height < data.height or width < data.width:
        raise InputError(
            f"--context {path} is {height}x{width}, smaller than the {data.height}x{data.width} of "
            f"{part.name}: give a larger one"
        )
    if not crop and abs(width / height / (data.width / data.height) - 1) > ASPECT:
        raise InputError(
            f"--context {path} is {height}x{width}, another aspect than {data.height}x"
            f"{data.width}: cut it to that, or let it be cut at its sides with --crop"
        )
