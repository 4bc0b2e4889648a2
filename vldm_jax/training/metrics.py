"""Where the figures of a run go: TensorBoard, JSON lines, and sample videos for both.

    workdir/metrics.jsonl          one object a record: {"step": 100, "loss": 0.21, ...}
    workdir/events.out.tfevents.*  the same scalars, and sample videos as animated images

A resumed run continues both: records of steps that the restored state has not done yet are dropped,
so none is there twice. What is found in a pause, as `eval/fvd`, is a record of its own. Lines of
metrics.jsonl that are no records are moved to metrics.foreign. Only process 0 writes.
"""

import io
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, naming_full_disk
from vldm_jax.core.json_files import parse_json
from vldm_jax.parallel import hosts
from vldm_jax.training.events import EventFile, Summary
from vldm_jax.typing import UInt8

FIGURES = "eval/"  # names of what an evaluation found begin so


class MetricsLog:
    """Writer of a run's figures; does nothing in processes other than 0.

    Args:
        workdir: folder of the run.
        start_step: step of the state that the run starts from; later records are dropped.
        tensorboard: whether to write TensorBoard events beside the JSON lines.

    Attributes:
        evaluated: whether figures of the start step are there already.
    """

    def __init__(
        self, workdir: str | os.PathLike[str], start_step: int = 0, *, tensorboard: bool = True
    ) -> None:
        self._events = self._lines = None
        self.evaluated = False
        folder = Path(workdir)
        self._path = folder / "metrics.jsonl"
        if not hosts.is_main():
            return
        folder.mkdir(parents=True, exist_ok=True)
        _keep_until(self._path, start_step)
        self.evaluated = _is_evaluated(self._path, start_step)
        self._lines = self._path.open("a", encoding="utf-8", buffering=1)
        if tensorboard:
            self._events = EventFile(folder, purge_step=start_step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one record; a value that is not finite becomes null in the JSON line.

        Raises:
            OSError: naming the file, if the disk is full.
        """
        if self._lines is None:
            return
        record = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with naming_full_disk(self._path):
            self._lines.write(json.dumps({"step": step, **record}) + "\n")
        if self._events is not None:
            scalars = [Summary.Value(tag=name, simple_value=v) for name, v in values.items()]
            self._events.add(step, Summary(value=scalars))

    def videos(
        self, step: int, name: str, videos: UInt8[np.ndarray, "b t h w 3"], fps: float
    ) -> None:
        """Write sample videos to TensorBoard, side by side in one animated image."""
        if self._events is None:
            return
        row = np.concatenate(list(videos), axis=2)
        frames, height, width, _ = row.shape
        images = [Image.fromarray(frame) for frame in row]
        buffer = io.BytesIO()
        images[0].save(
            buffer,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=max(round(1000 / fps), 20),
            loop=0,
        )
        picture = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue()
        )
        self._events.add(step, Summary(value=[Summary.Value(tag=name, image=picture)]))

    def close(self) -> None:
        """Flush and close the files."""
        if self._lines is not None:
            with naming_full_disk(self._path):
                self._lines.close()
        if self._events is not None:
            self._events.close()


def _keep_until(path: Path, step: int) -> None:
    """Drop the records of later steps; move lines that are no records to a file of their own."""
    if not path.exists():
        return
    kept, foreign = [], []
    *lines, cut = path.read_bytes().split(b"\n")
    for line in filter(bytes.strip, lines):
        number = _step_of(line)
        if number is None:
            foreign.append(line + b"\n")
        elif number <= step:
            kept.append(line + b"\n")
    if (number := _step_of(cut)) is not None and number <= step:
        kept.append(cut + b"\n")  # otherwise what a killed process was writing
    if foreign:
        aside = path.with_name("metrics.foreign")
        with naming_full_disk(aside), aside.open("ab") as file:
            file.writelines(foreign)
        print(
            f"{path}: {len(foreign)} lines are no records of a run: moved to {aside.name}",
            file=sys.stderr,
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(kept))


def _is_evaluated(path: Path, step: int) -> bool:
    """Return whether one of the records, of which all are whole, has figures of a step."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return any(
        name.startswith(FIGURES)
        for line in lines
        if _step_of(line) == step
        for name in parse_json(line, "metrics.jsonl", "a record")
    )


def _step_of(line: bytes) -> int | None:
    try:
        record = parse_json(line, "metrics.jsonl", "a record")
    except InputError:
        return None
    step = record.get("step")
    return step if type(step) is int else None
