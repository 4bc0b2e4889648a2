"""TensorBoard's event files, record by record with tensorboardX.

Its own `SummaryWriter` is not used: that writes in a thread, which a full disk ends with a trace,
and then blocks the run. Here what cannot be written is an error of whoever writes.

tensorboardX imports torch where there is one, to know its tensors by their class: seconds and
hundreds of megabytes in every start of a command that never sees such a tensor.
"""

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vldm_jax.core.files import naming_full_disk

__all__ = ["EventFile", "Summary"]


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Let `import name` fail inside, as if it were not installed, unless it was imported before."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


with _absent("torch"):
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import RecordWriter


class EventFile:
    """A new event file of a run.

    Args:
        folder: where it goes; earlier files of the run may be there.
        purge_step: TensorBoard hides what earlier files have from this step on.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        now = time.time()
        name = f"events.out.tfevents.{int(now)}.{platform.node()}.{os.getpid()}"
        self._path = folder / name
        with naming_full_disk(self._path):
            self._records = RecordWriter(str(self._path))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=now, file_version="brain.Event:2"))
        self._write(Event(wall_time=now, step=purge_step, session_log=start))

    def add(self, step: int, summary: Summary) -> None:
        """Write what is known of a step.

        Raises:
            OSError: naming the file, if the disk is full.
        """
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        """Close the file."""
        with naming_full_disk(self._path):
            self._records.close()

    def _write(self, event: Event) -> None:
        with naming_full_disk(self._path):
            self._records.write(event.SerializeToString())
            self._records.flush()
