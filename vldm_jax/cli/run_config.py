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
from vldm_jax.config.table import ADDED, GONE
from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json
from vldm_jax.stages.base import Stage
from vldm_jax.stages.table import STAGES

CONFIG = "config.json"  # beside the best weights, which have no checkpoints


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
    """Return the config of a run, or of its folder of best weights, locked and overridden.

    It is the newest checkpoint's with a whole one.

    Raises:
        InputError: if the folder holds none, or an override does not fit.
    """
    config = ConfigDict(_tuples(_as_now(_stored(workdir)))).lock()
    for word in overrides:
        override(config, word, str(workdir))
    return config


def has_config(workdir: Path) -> bool:
    """Return whether a folder tells its config."""
    return (workdir / CONFIG).exists() or newest_config(workdir / "checkpoints") is not None


def _stored(workdir: Path) -> dict[str, Any]:
    """Return the config that is kept in a folder: in its checkpoints, or beside the best weights.

    Raises:
        InputError: if there is none.
    """
    if (workdir / CONFIG).exists():
        return read_json(workdir / CONFIG, "the config of a run")
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
    return found[1]


def _as_now(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a stored config as this version has it, whichever wrote it."""
    kind = _place(stored, "objective.kind")[0].get("kind")
    usual = (STAGES[kind] if kind in STAGES else Stage).base().to_dict()
    for key in GONE:
        section, name = _place(stored, key)
        section.pop(name, None)
    for key in ADDED:
        section, name = _place(stored, key)
        now = _place(usual, key)[0]
        if name in now:  # not every stage has it
            section.setdefault(name, now[name])
    return stored


def _place(config: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the section that a key stands in, {} if there is none, and its name there."""
    *parents, name = key.split(".")
    for parent in parents:
        config = config.get(parent, {})
    return config, name


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
