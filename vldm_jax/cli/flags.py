"""Flags of a command, and the experiment's config among them.

`--config FILE.py[:VARIANT]` loads `get_config(VARIANT)` locked; `--config.section.key=value`
changes one value and is refused, with the nearest key named, where there is no such key.
"""

import argparse
import ast
import importlib.util
import shlex
import symtable
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ml_collections import ConfigDict

from vldm_jax.cli.overrides import override
from vldm_jax.core.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `InputError`s of one line."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            f"vldm {command}", description=description, allow_abbrev=False, add_help=False
        )
        self.add_argument(
            "-h",
            "--help",
            action=_Help,
            nargs=0,
            default=argparse.SUPPRESS,
            help="say this and end",
        )

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise InputError(f"{self.prog}: {message}; see {self.prog} --help")


def folder(text: str) -> Path:
    """Return the path of a folder to write to, for `add_argument(type=folder)`."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return Path(text)


def add_config(parser: Parser, *, required: bool = True) -> None:
    """Add `--config`, to be read by `parse_with_config`."""
    parser.add_argument(
        "--config",
        required=required,
        metavar="FILE.py[:VARIANT]",
        help="the experiment; --config.section.key=value overrides one value, "
        "--config FILE.py --help lists them",
    )
    if found := sorted(str(path) for path in Path("configs").glob("*/*.py")):
        parser.epilog = f"experiments here: {', '.join(found)}"


class _Help(argparse.Action):
    """Print the flags, after a `--config` also the keys of that experiment, and end."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, *_: Any) -> None:
        print(parser.format_help())
        if name := getattr(namespace, "config", None):
            from vldm_jax.cli.config_help import config_help  # all tables, and jax: for help alone

            print(config_help(load_config(name), name))
        parser.exit()


def parse_with_config(parser: Parser, argv: Sequence[str]) -> tuple[argparse.Namespace, ConfigDict]:
    """Return the parsed flags and the locked config with its overrides applied.

    Raises:
        InputError: for an unknown flag or key, a value of the wrong type, a missing file.
    """
    args, rest = parser.parse_known_args(argv)
    return args, load_config(args.config, overrides_of(parser, rest))


def overrides_of(parser: Parser, rest: Sequence[str]) -> list[str]:
    """Return the words that change the config; there must be no others.

    Raises:
        InputError: naming a word that is no flag of the command.
    """
    for before, word in zip(("", *rest), rest, strict=False):
        if word.startswith("--config."):
            continue
        if before.startswith("--config.") and "=" not in before:
            parser.error(f"unknown argument {word!r}: write {shlex.quote(f'{before}={word}')}")
        parser.error(f"unknown argument {word!r}")
    return list(rest)


def load_config(name: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Load `FILE.py[:VARIANT]` and apply overrides of the form `--config.section.key=value`.

    Raises:
        InputError: if the file does not exist or is no config, or an override does not fit.
    """
    path, _, variant = name.partition(":")
    if not Path(path).is_file():
        raise InputError(f"no config file {path!r}; the project's are in configs/")
    config = _call(path, variant)
    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: get_config({variant!r}) returns no ConfigDict")
    config.lock()
    for word in overrides:
        override(config, word, name)
    return config


def _call(path: str, variant: str) -> object:
    """Run a config file; whatever it raises is an error of the file, told in one line."""
    spec = importlib.util.spec_from_file_location("config", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file: a config is FILE.py with get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        if _has_get_config(path):
            spec.loader.exec_module(module)
        if "get_config" not in vars(module):
            raise InputError("there is no get_config() in it")
        return module.get_config(variant) if variant else module.get_config()
    except Exception as error:  # the file is a user's program: it may raise anything
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise InputError(f"{path}: {kind}{' '.join(str(error).split())}") from error


def _has_get_config(path: str) -> bool:
    """Return whether a Python file may have a `get_config`, by its text: another one is not run."""
    text = Path(path).read_bytes()
    imports = [node for node in ast.walk(ast.parse(text, path)) if isinstance(node, ast.ImportFrom)]
    symbols = symtable.symtable(text, path, "exec").get_symbols()
    return any(node.names[0].name == "*" for node in imports) or any(
        symbol.get_name() == "get_config" and (symbol.is_assigned() or symbol.is_imported())
        for symbol in symbols
    )


def positive(text: str) -> int:
    """Return the whole number of a flag.

    Raises:
        ArgumentTypeError: if it is none, or less than 1.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """Return height and width of a flag, "128x256".

    Raises:
        ArgumentTypeError: if it is written otherwise.
    """
    height, _, width = text.partition("x")
    try:
        return positive(height), positive(width)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"write {text!r} as HEIGHTxWIDTH, as 64x64") from error
