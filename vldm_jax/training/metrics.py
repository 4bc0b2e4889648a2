"""Where the figures of a run go: TensorBoard, JSON lines, and sample videos for both.

    workdir/metrics.jsonl          one object a record: {"step": 100, "loss": 0.21, ...}
    workdir/events.out.tfevents.*  the same scalars, and sample videos as animated images

A resumed run continues both: records of steps that the restored state has not done yet are dropped,
so every step is there once. Only process 0 writes.
"""

import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from vldm_jax.core.files import atomic_path
from vldm_jax.parallel import hosts
from vldm_jax.training.events import Summary, SummaryWriter
from vldm_jax.training.objectives.base import Mean
from vldm_jax.typing import UInt8


class Averages:
    """Running means of the metrics of several steps, on the host."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Fetch one step's metrics, add them, and return this step's own values."""
        fetched = jax.device_get(dict(metrics))
        values = {}
        for name, metric in fetched.items():
            total, count = (metric.total, metric.count) if isinstance(metric, Mean) else (metric, 1)
            sums = self._sums.setdefault(name, [0.0, 0.0])
            sums[0] += float(total)
            sums[1] += float(count)
            if count:
                values[name] = float(total) / float(count)
        return values

    def take(self) -> dict[str, float]:
        """Return the means since the last call and start again; leave out what has no values."""
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        self._sums = {}
        return means


class MetricsLog:
    """Writer of a run's figures; does nothing in processes other than 0.

    Args:
        workdir: folder of the run.
        start_step: step of the state that the run starts from; later records are dropped.
        tensorboard: whether to write TensorBoard events beside the JSON lines.
    """

    def __init__(
        self, workdir: str | os.PathLike[str], start_step: int = 0, *, tensorboard: bool = True
    ) -> None:
        self._events = self._lines = None
        if not hosts.is_main():
            return
        folder = Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        _keep_until(path, start_step)
        self._lines = path.open("a", encoding="utf-8", buffering=1)
        if tensorboard:
            self._events = SummaryWriter(str(folder), purge_step=start_step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one record; a value that is not finite becomes null in the JSON line."""
        if self._lines is None:
            return
        record = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._lines.write(json.dumps({"step": step, **record}) + "\n")
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

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
        summary = Summary(value=[Summary.Value(tag=name, image=picture)])
        self._events.file_writer.add_summary(summary, step)

    def close(self) -> None:
        """Flush and close the files."""
        if self._lines is not None:
            self._lines.close()
        if self._events is not None:
            self._events.close()


def _keep_until(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the line that a killed process was writing
            continue
        if record["step"] <= step:
            kept.append(line + "\n")
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")
