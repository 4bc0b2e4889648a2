"""A disk that takes no more, as far as this process can have one."""

import contextlib
import resource


@contextlib.contextmanager
def files_of_at_most(size):
    """No file grows beyond `size` bytes in this context: a write fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
