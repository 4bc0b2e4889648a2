"""TensorBoard's event files, as tensorboardX writes them.

tensorboardX imports torch where there is one, to know its tensors by their class: seconds and
hundreds of megabytes in every start of a command that never sees such a tensor.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Summary", "SummaryWriter"]


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
    from tensorboardX import SummaryWriter
    from tensorboardX.proto.summary_pb2 import Summary
