"""One run at a time in a workdir: a lock that the kernel drops when its owner ends, in any way.

    <workdir>/.lock    locked (flock) by process 0 of the run; says who that is

Readers (sampling, inspecting, exporting) need no lock: what they read is renamed into place.
"""

import contextlib
import datetime
import fcntl
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from vldm_jax.core.errors import InputError
from vldm_jax.parallel import hosts

LOCK = ".lock"


@contextlib.contextmanager
def owned(workdir: Path) -> Iterator[None]:
    """Own a workdir, which is made if absent, in this context. A collective: all processes call it.

    Raises:
        InputError: if another run owns it, naming that run's first process.
    """
    with contextlib.ExitStack() as stack:
        problem = _lock(workdir, stack) if hosts.is_main() else None
        if not hosts.agree(problem is None):
            raise InputError(problem or f"process 0 finds that another run owns {workdir}")
        yield


def check_free(workdir: Path) -> None:
    """Raise if another run owns the workdir now; changes nothing, to be called first.

    Raises:
        InputError: naming that run's first process.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = os.open(workdir / LOCK, os.O_RDWR)
        except OSError:  # no run has been here yet
            return
        stack.callback(os.close, file)
        if problem := _refusal(workdir, file):
            raise InputError(problem)


def _lock(workdir: Path, stack: contextlib.ExitStack) -> str | None:
    workdir.mkdir(parents=True, exist_ok=True)
    file = os.open(workdir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    stack.callback(os.close, file)
    if problem := _refusal(workdir, file):
        return problem
    now = datetime.datetime.now().isoformat(" ", "seconds")
    os.truncate(file, 0)
    os.write(file, f"process {os.getpid()} on {platform.node()}, since {now}".encode())
    stack.callback(os.truncate, file, 0)
    return None


def _refusal(workdir: Path, file: int) -> str | None:
    """Lock an open file; if another process has it, return what to say."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.pread(file, 256, 0).decode(errors="replace") or "another process"
        return (
            f"another run owns {workdir}: {who}; wait for its end, stop it, or choose another "
            "--workdir"
        )
    except OSError as error:
        print(
            f"{workdir} cannot be locked ({error.strerror}): see to it that no other run uses it",
            file=sys.stderr,
        )
    return None
