"""Flags that evaluating and comparing share: which figures, and the weights of their networks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vldm_jax.cli.flags import Parser
from vldm_jax.core.errors import InputError
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given_weights import check_kind


def add_figures(parser: Parser, *, usual: str) -> None:
    """Add `--figures` and `--network`.

    Args:
        parser: of the command.
        usual: which figures are taken without the flag, for its help.
    """
    names = ", ".join(FIGURES)
    parser.add_argument("--figures", type=_names, help=f"of {names}; {usual}")
    parser.add_argument(
        "--network", action="append", default=[], metavar="NAME=PATH",
        help="weights of a network that no package has: a file; of clip its folder",
    )  # fmt: skip


def network_weights(words: Sequence[str]) -> dict[str, Path]:
    """Return {network: file of its weights} of the words of `--network`.

    Raises:
        InputError: if one is not NAME=PATH, names no network, or a folder where a file is taken.
    """
    found = {}
    for name, equals, path in (word.partition("=") for word in words):
        if not equals or not path:
            raise InputError(f"--network {name}: write NAME=PATH")
        found[name] = Path(path)
    known = {figure.extractor for figure in FIGURES.values()}
    for name in found:
        if name not in known:
            raise InputError(f"--network {name}: there is no such network; {', '.join(known)}")
        check_kind(name, found[name])
    return found


def seed(text: str) -> int:
    """Return the seed of a flag.

    Raises:
        ArgumentTypeError: if it is negative.
    """
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {value}")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
