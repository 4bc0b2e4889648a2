"""The console script `vldm`: finds the command, turns an input error into one line."""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from vldm_jax import __version__
from vldm_jax.cli.interruption import Interruption
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import NO_ROOM
from vldm_jax.core.signals import Stopped, end_at_once

COMMANDS = {
    "train": "train a stage (autoencoder, image, video); a second start resumes",
    "sample": "write samples of a trained stage: mp4, GIF, contact sheet, metadata",
    "evaluate": "figures of samples against real clips: FVD and others, with their floors",
    "compare": "checkpoints beside each other: same noise, labels, real clips; one table",
    "data": "build records from videos or the simulator; inspect what the model sees",
    "convert": "public checkpoints in (diffusers, original files, AnimateDiff), exports out",
    "inspect": "say what a checkpoint or weights file holds",
}
USAGE = "\n".join(
    [
        "usage: vldm COMMAND [--flag=value ...]",
        "",
        *(f"  {name:10}{text}" for name, text in COMMANDS.items()),
        "",
        "vldm COMMAND --help lists a command's flags.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0, 1 for a failing disk or pipe, 2 for bad input, 130 when interrupted, 143 after SIGTERM.

    Args:
        argv: the command's name and flags; None for those of this process, which then belongs to
            the command and is ended by its failure: nothing else is left to do here, and other
            processes of the run would wait for the orderly end of this one.
    """
    if argv is not None:
        try:
            return _run(argv)
        except Stopped as stopped:
            return stopped.code
    try:
        code = _run(sys.argv[1:])
    except Exception:
        _tell_others("await_verdict")
        traceback.print_exc()
        code = 1
    if code:
        _tell_others("leave")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        end_at_once(code)
    return code


def _run(argv: Sequence[str]) -> int:
    name, *rest = argv or ["--help"]
    interruption = Interruption()
    try:
        with interruption.heard():
            if name in ("-h", "--help", "help"):
                print(USAGE)
            elif name == "--version":
                print(f"vldm_jax {__version__}")
            elif name not in COMMANDS:
                raise InputError(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
            else:
                command = importlib.import_module(f"vldm_jax.cli.{name}")
                interruption.begun = True
                command.run(rest)
            sys.stdout.flush()
    except InputError as error:
        print(f"vldm: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None and error.errno in NO_ROOM:  # all files name themselves
            error.filename = "the standard output"
        print(f"vldm: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        interruption.say()
        return 130
    except Stopped as stopped:
        if not interruption.raised:
            raise  # by the training loop, which has saved: an orderly end
        return stopped.code
    return 0


def _tell_others(what: str) -> None:
    """Call a function of `parallel.hosts`, if the command has got as far as that."""
    if hosts := sys.modules.get("vldm_jax.parallel.hosts"):
        getattr(hosts, what)()
