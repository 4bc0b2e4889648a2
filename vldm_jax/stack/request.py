"""What videos of the stack are to be: labels by name, boxes, given frames, futures."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vldm_jax.conditions.boxes import Boxes
from vldm_jax.conditions.labels import Labels
from vldm_jax.core.errors import InputError
from vldm_jax.data.folder import read_folder
from vldm_jax.data.source import decode_clip
from vldm_jax.data.still import is_still, read_still
from vldm_jax.data.transforms import resize_crop
from vldm_jax.stack.boxes import check_boxes
from vldm_jax.stack.plan import CONTEXT, Part, StackPlan, condition_of
from vldm_jax.typing import Conditioning, Int, UInt8

ASPECT = 0.02  # relative difference of aspects that is cut away without a word


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """What is asked for: videos, as many futures of each beginning.

    Attributes:
        labels: of each beginning {name: value}; others are unknown.
        context: (k H W 3) frames at the key frames' rate that all begin with, or None.
        futures: videos of each beginning, from the same first frame.
        seed: of all that is drawn.
        boxes: of first frames, x0 y0 x1 y1 in [0, 1]; () for none; None for unknown ones.
        first: number of the first beginning: what is drawn belongs to the number.
    """

    labels: tuple[Mapping[str, float], ...]
    context: UInt8[np.ndarray, "k h w 3"] | None
    futures: int
    seed: int
    boxes: tuple[tuple[float, ...], ...] | None = None
    first: int = 0

    @property
    def count(self) -> int:
        """Number of videos."""
        return len(self.labels) * self.futures

    @property
    def numbers(self) -> Int[np.ndarray, " videos"]:
        """Of the videos; those of one beginning follow each other."""
        return self.first * self.futures + np.arange(self.count)

    def of(self, part: Part, videos: Sequence[int]) -> Conditioning:
        """Return what a part is told of some videos, every array leading with their number.

        Args:
            part: of the stack.
            videos: each from 0 to `count` - 1.

        Raises:
            InputError: for a label that the part does not take, or a box that is none.
        """
        told = {
            key: np.repeat(np.asarray(value), len(videos), axis=0)
            for key, value in part.stage.request(1).items()
        }
        if (taken := condition_of(part, Boxes)) is not None:
            told[taken.key] = np.repeat(taken.rows(self.boxes, "--boxes"), len(videos), axis=0)
        rows = [self._row(part, self.labels[video // self.futures]) for video in videos]
        if (labels := condition_of(part, Labels)) is not None:
            told[labels.key] = labels.rows(tuple(rows), "--labels")
        return told

    def check(self, plan: StackPlan) -> None:
        """Raise for what no part takes; to be asked before anything slow.

        Raises:
            InputError: naming the flag.
        """
        for part in plan.parts:
            if part.kind != "decoder":
                self.of(part, range(0, self.count, self.futures))
        check_boxes(self.boxes, plan.first, given=self.context is not None)

    def untaught(self, plan: StackPlan) -> list[str]:
        """Return a line for each part that never saw a label in training that it is asked for."""
        lines = []
        for part in (plan.first, plan.prediction):  # what a video shows is theirs
            if part is not None and (taken := condition_of(part, Labels)) is not None:
                unknown = part.file.meta.get("unknown", {}).get(taken.key, ())
                if asked := [name for name in unknown if any(name in row for row in self.labels)]:
                    lines.append(
                        f"labels {', '.join(asked)} were unknown in the training of {part.name}: "
                        "what it makes of them is arbitrary"
                    )
        return lines

    def _row(self, part: Part, labels: Mapping[str, float]) -> tuple[float, ...]:
        names = tuple(part.config.data.labels)
        if part.kind == "upsampler":
            labels = {name: value for name, value in labels.items() if name in names}
        if unknown := sorted(labels.keys() - set(names)):
            known = f"it takes {', '.join(names)}" if names else "it takes no labels"
            raise InputError(f"--labels: {part.name} has no label {unknown[0]!r}; {known}")
        return tuple(labels[name] if name in labels else float("nan") for name in names)


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
    entries = read_folder(Path(path), cuts=False).entries
    if len(entries) > 1:
        raise InputError(f"--context {path} holds {len(entries)} videos: give one of them")
    (entry,) = entries
    if entry.video.fps < 0.98 * float(data.fps):
        raise InputError(
            f"--context {path} has {entry.video.fps:.3g} frames a second, the key frames "
            f"{data.fps:g}: give a video of at least that rate, or an image"
        )
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
