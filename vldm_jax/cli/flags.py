"""Flags of a command, and the experiment's config among them.

`--config FILE.py[:VARIANT]` loads `get_config(VARIANT)` locked; `--config.section.key=value`
changes one value and is refused, with the nearest key named, where there is no such key.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from vldm_jax.core.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `InputError`s of one line."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(f"vldm {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise InputError(f"{self.prog}: {message}; see {self.prog} --help")


def add_config(parser: Parser) -> None:
    """Add `--config`, to be read by `parse_with_config`."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE.py[:VARIANT]",
        help="the experiment; --config.section.key=value overrides one value",
    )


def parse_with_config(parser: Parser, argv: Sequence[str]) -> tuple[argparse.Namespace, ConfigDict]:
    """Return the parsed flags and the locked config with its overrides applied.

    Raises:
        InputError: for an unknown flag or key, a value of the wrong type, a missing file.
    """
    args, rest = parser.parse_known_args(argv)
    for word in rest:
        if not word.startswith("--config."):
            parser.error(f"unknown argument {word!r}")
    return args, load_config(args.config, rest)


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Load `FILE.py[:VARIANT]` and apply overrides of the form `--config.section.key=value`.

    Raises:
        InputError: if the file does not exist or is no config, or an override does not fit.
    """
    path, _, variant = name.partition(":")
    if not Path(path).is_file():
        raise InputError(f"no config file {path!r}; the project's are in configs/")
    argv = ["vldm", f"--config={name}", *overrides]
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file(
        "config", flag_values=values, lock_config=True, sys_argv=argv
    )
    try:
        values(argv)
    except (flags.Error, AttributeError, KeyError, SyntaxError, ValueError, TypeError) as error:
        raise InputError(f"{name}: {_one_line(error)}") from error
    config: Any = holder.value
    if not isinstance(config, ConfigDict):
        raise InputError(f"{path} has no get_config({variant!r}) that returns a ConfigDict")
    return config


def _one_line(error: BaseException) -> str:
    if "Traceback" in str(error):  # of the config file: its last line says what it refuses
        error = ValueError(str(error).strip().splitlines()[-1])
    text = " ".join(str(error).split())
    if match := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text):
        return f"the config has no key {match[2]!r}; did you mean {match[1]!r}?"
    if isinstance(error, AttributeError | KeyError):
        return f"the config has no key {text.strip(chr(34))}"
    return text
