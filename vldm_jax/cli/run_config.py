"""The config that a run keeps in its checkpoints, for commands that are given only its workdir."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from vldm_jax.checkpoint.steps import all_steps, newest_config
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.flags import Parser, load_config
from vldm_jax.cli.overrides import override
from vldm_jax.config.table import GONE
from vldm_jax.core.errors import InputError


def asked_config(parser: Parser, args: argparse.Namespace, overrides: Sequence[str]) -> ConfigDict:
    """Return the config that `--config` names, or that the run in `--workdir` keeps.

    Raises:
        InputError: if there is no such folder, or `--weights` come without a config.
    """
    if args.workdir is not None:
        _check_workdir(args.workdir)
    if args.config is not None:
        return load_config(args.config, overrides)
    if args.workdir is None:
        parser.error("--weights needs --config, the experiment that they are of")
    return run_config(args.workdir, overrides)


def run_config(workdir: Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """Return the config of a run's newest checkpoint with a whole one, locked and overridden.

    Raises:
        InputError: if the workdir holds no checkpoint, or an override does not fit.
    """
    found = newest_config(workdir / "checkpoints")
    if found is None:
        if not (workdir / WEIGHTS).exists() and not all_steps(workdir / "checkpoints"):
            raise InputError(
                f"{workdir} holds no checkpoint and no {WEIGHTS}: if a run ended there before its "
                "first checkpoint, it goes on with the same command, vldm train"
            )
        raise InputError(
            f"{workdir} holds no checkpoint, or none that is whole, that tells its config: give "
            "--config, the experiment that was trained there"
        )
    _, stored = found
    for key in GONE:  # written by an earlier version
        *parents, name = key.split(".")
        section = stored
        for parent in parents:
            section = section.get(parent, {})
        section.pop(name, None)
    config = ConfigDict(_tuples(stored)).lock()
    for word in overrides:
        override(config, word, str(workdir))
    return config


def _tuples(value: Any) -> Any:
    """Return JSON values with tuples, which a config has, for its lists."""
    if isinstance(value, Mapping):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def _check_workdir(workdir: Path) -> None:
    """Raise unless a folder to sample from is there.

    Raises:
        InputError: naming it, and what to give instead.
    """
    if not workdir.exists():
        raise InputError(f"--workdir: no such folder: {str(workdir)!r}; give that of a run")
    if not workdir.is_dir():
        raise InputError(f"--workdir: {workdir} is a file: give its folder, or --weights {workdir}")
