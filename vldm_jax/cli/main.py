"""The console script `vldm`: finds the command, turns an input error into one line."""

import importlib
import os
import sys
from collections.abc import Sequence

from vldm_jax import __version__
from vldm_jax.core.errors import InputError

COMMANDS = {
    "train": "train a stage (autoencoder, image, video); a second start resumes",
    "sample": "write samples of a trained stage: mp4, GIF, contact sheet, metadata",
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

    0, 1 for a failing disk or pipe, 2 for bad input, 130 when interrupted.
    """
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if name == "--version":
        print(f"vldm_jax {__version__}")
        return 0
    try:
        if name not in COMMANDS:
            raise InputError(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
        importlib.import_module(f"vldm_jax.cli.{name}").run(rest)
    except InputError as error:
        print(f"vldm: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"vldm: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vldm: interrupted", file=sys.stderr)
        return 130
    return 0
