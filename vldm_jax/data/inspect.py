"""What the model sees, as files for a person: the loader's own batches, not the videos.

    sheet.png     one row an example with its origin and its labels, one column a frame
    clips.mp4     the same examples playing side by side (videos only)
    summary.txt   what is kept and what is skipped, by reason; labels, brightness, motion

Everything comes out of `pipeline.make_loader`, so a wrong crop, rate, order or label shows here:
the labels are those in the batch, not those in the folder. Boxes are drawn onto the frames.
"""

import math
import os
from pathlib import Path
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8

from vldm_jax.core.files import atomic_path
from vldm_jax.core.words import counted
from vldm_jax.data.drawing import draw_boxes
from vldm_jax.data.labels import describe_labels
from vldm_jax.data.pipeline import make_loader
from vldm_jax.data.write import write_contact_sheet, write_video

FILES = SHEET, CLIPS, SUMMARY = "sheet.png", "clips.mp4", "summary.txt"
Path_ = str | os.PathLike[str]


@runtime_checkable
class Described(Protocol):
    """A source that can say where an example comes from (`ClipSource`, `RecordSource`)."""

    report: str
    label_names: tuple[str, ...]
    video: Int[np.ndarray, " n"]  # for each example the number of the video that it is cut from

    def __len__(self) -> int: ...

    def __getitem__(self, key: SupportsIndex) -> dict[str, Any]: ...

    def describe(self, key: int) -> str:
        """Return where an example comes from, without its labels: those are in the example."""
        ...


def write_inspection(
    source: Described,
    out: Path_,
    *,
    count: int = 16,
    seed: int = 0,
    shuffle: bool = True,
    worker_count: int = 0,
) -> str:
    """Write `sheet.png`, `clips.mp4` and `summary.txt` of the first examples; return the summary.

    Args:
        source: what training would load from.
        out: folder for the files; made if missing.
        count: examples to show, at most those of the source.
        seed: as for training, so that these are the examples of its first steps.
        shuffle: as for training.
        worker_count: as for training.
    """
    count = min(count, len(source))
    with make_loader(
        source, batch_size=count, seed=seed, shuffle=shuffle, worker_count=worker_count
    ) as loader:
        batch = next(loader)
    is_video = "video" in batch
    videos = batch["video"] if is_video else batch["image"][:, None]
    titles = [
        source.describe(int(key)) + describe_labels(source.label_names, labels)
        for key, labels in zip(batch["key"], batch["labels"], strict=True)
    ]
    fps = float(batch["fps"][0])
    times = [f"{index / fps:.2f} s" for index in range(videos.shape[1])] if is_video else []
    shown = _enlarged(batch, videos, max(1, 96 // videos.shape[2]))
    out = Path(out)
    write_contact_sheet(out / SHEET, list(shown), titles, columns=times)
    (out / CLIPS).unlink(missing_ok=True)  # of an earlier inspection, if these are images
    if is_video:
        write_video(out / CLIPS, mosaic(shown if "boxes" in batch else videos), fps)
    summary = _summary(source, batch, videos, fps)
    with atomic_path(out / SUMMARY) as temporary:
        temporary.write_text(summary + "\n", encoding="utf-8")
    return summary


def _enlarged(
    batch: dict[str, np.ndarray], videos: UInt8[np.ndarray, "b t h w 3"], scale: int
) -> UInt8[np.ndarray, "b t h2 w2 3"]:
    """Return the frames that many times larger, with their boxes if the data brings some."""
    if "boxes" not in batch:
        return videos.repeat(scale, 2).repeat(scale, 3)
    count, frames = videos.shape[:2]
    boxes = batch["boxes"].reshape(count, frames, -1, 4)
    is_box = batch["is_box"].reshape(count, frames, -1)
    drawn = [
        draw_boxes(frame, of[which], scale=scale)
        for clip, *told in zip(videos, boxes, is_box, strict=True)
        for frame, of, which in zip(clip, *told, strict=True)
    ]
    return np.stack(drawn).reshape(count, frames, *drawn[0].shape)


def mosaic(videos: UInt8[np.ndarray, "b t h w 3"]) -> UInt8[np.ndarray, "t rows columns 3"]:
    """Return one video of all, about as wide as high, row by row; black where there is none."""
    count, frames, height, width, _ = videos.shape
    columns = max(1, round(math.sqrt(count * height / width)))
    rows = -(-count // columns)
    black = np.zeros((rows * columns - count, *videos.shape[1:]), np.uint8)
    grid = np.concatenate([videos, black]).reshape(rows, columns, frames, height, width, 3)
    return grid.transpose(2, 0, 3, 1, 4, 5).reshape(frames, rows * height, columns * width, 3)


def _summary(
    source: Described, batch: dict[str, np.ndarray], videos: np.ndarray, fps: float
) -> str:
    count, frames, height, width, _ = videos.shape
    examples, length = counted(len(source), "example"), counted(frames, "frame")
    lines = [
        source.report,
        f"{examples}; {count} shown: {length} at {fps:g} fps, {height}x{width}",
    ]
    for index, name in enumerate(source.label_names):
        values = batch["labels"][:, index]
        known = values[~np.isnan(values)]
        span = f"{known.min():g} to {known.max():g}, mean {known.mean():.3g}" if len(known) else "-"
        lines.append(f"  label {name}: known for {len(known)} of {count}, {span}")
    if "is_box" in batch:
        each, most = batch["is_box"].sum(-1), batch["is_box"].shape[-1]
        span = f"{each.min()} to {each.max()}, mean {each.mean():.3g}"
        lines.append(f"  boxes a frame: {span}; of more than {most} the largest")
    pixels = videos.astype(np.float32)
    lines.append(f"  brightness {pixels.mean():.1f} of 255, contrast {pixels.std():.1f}")
    if frames > 1:
        motion = np.abs(np.diff(pixels, axis=1)).mean(axis=(1, 2, 3, 4))
        lines.append(
            f"  frame to frame difference {motion.mean():.2f}, from {motion.min():.2f} "
            f"to {motion.max():.2f} of 255"
        )
    return "\n".join(lines)
