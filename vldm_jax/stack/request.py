"""What a video of the stack is to be: labels by name, boxes, frames it goes on from, futures."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vldm_jax.conditions.boxes import Boxes
from vldm_jax.core.errors import InputError
from vldm_jax.data.folder import read_folder
from vldm_jax.data.source import decode_clip
from vldm_jax.data.still import is_still, read_still
from vldm_jax.data.transforms import resize_crop
from vldm_jax.stack.plan import CONTEXT, Part, StackPlan
from vldm_jax.typing import Conditioning, UInt8

ASPECT = 0.02  # relative difference of aspects that is cut away without a word
NO_BOXES = "none"  # what --boxes says for a frame without any


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        labels: {name: value}; others are unknown.
        context: (k H W 3) frames at the key frames' rate that the video begins with, or None.
        futures: videos, from the same first frame.
        seed: of all that is drawn.
        boxes: of the first frame, x0 y0 x1 y1 in [0, 1]; () for none; None for unknown ones.
    """

    labels: Mapping[str, float]
    context: UInt8[np.ndarray, "k h w 3"] | None
    futures: int
    seed: int
    boxes: tuple[tuple[float, ...], ...] | None = None

    def of(self, part: Part, count: int) -> Conditioning:
        """Return what `count` samples of a part are asked for, every array leading with it.

        Raises:
            InputError: for a label that the part does not take, or a box that is none.
        """
        request = part.stage.request(count)
        if (taken := boxes_of(part)) is not None:
            row = taken.rows(self.boxes, "--boxes")
            request[Boxes.key] = np.repeat(row, count, axis=0)
        if not self.labels:
            return request
        names = tuple(part.config.data.labels)
        if unknown := sorted(self.labels.keys() - set(names)):
            known = f"it takes {', '.join(names)}" if names else "it takes no labels"
            raise InputError(f"--labels: {part.name} has no label {unknown[0]!r}; {known}")
        if "labels" not in request:
            raise InputError(f"--labels: {part.name} takes no labels; leave them out")
        row = [self.labels.get(name, np.nan) for name in names]
        return {**request, "labels": np.tile(np.array(row, np.float32), (count, 1))}

    def check(self, plan: StackPlan) -> None:
        """Raise for what no part takes; to be asked before anything slow.

        Raises:
            InputError: naming the flag.
        """
        for part in plan.parts:
            self.of(part, 1)
        if self.boxes is None:
            return
        if self.context is not None:
            raise InputError(
                "--boxes places what the first frame shows, which --context gives: leave one out"
            )
        if plan.first is None or boxes_of(plan.first) is None:
            who = "no part takes" if plan.first is None else f"{plan.first.name} takes no"
            raise InputError(
                f"--boxes: {who} boxes; let the first part be an image model that does "
                "(configs/driving/boxes.py), or leave them out"
            )


def boxes_of(part: Part) -> Boxes | None:
    """Return the condition by which a part is told boxes; None if it is not."""
    return next((c for c in part.stage.conditions if isinstance(c, Boxes)), None)


def parse_boxes(text: str | None) -> tuple[tuple[float, ...], ...] | None:
    """Return the boxes of "0.1,0.5,0.3,0.7;0.6,0.5,0.7,0.6", () of "none", None of "".

    Raises:
        InputError: if it is written otherwise.
    """
    if not text:
        return None
    if text.strip() == NO_BOXES:
        return ()
    try:
        return tuple(tuple(map(float, box.split(","))) for box in text.split(";"))
    except ValueError as error:
        raise InputError(
            f"--boxes {text!r}: write X0,Y0,X1,Y1;X0,Y0,X1,Y1 in fractions of the frame, or "
            f"{NO_BOXES} for a frame without any"
        ) from error


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
