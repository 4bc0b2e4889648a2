"""What a run left behind, as a network that can be exported, with all that is known of it."""

from pathlib import Path
from typing import Any

from vldm_jax.checkpoint.inspect import read_params
from vldm_jax.checkpoint.steps import complete_steps, newest_config
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.core import paths
from vldm_jax.core.assets import SCHEME
from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import parse_json
from vldm_jax.models.network import Network

_PRIVATE = ("cache", "index", "workers")  # of config.data: how it was read, not what it was


def describe_run(network: Network, workdir: Path) -> None:
    """Add to a network's `meta` the data and the last metrics of the run that made it, if known."""
    if found := newest_config(workdir / "checkpoints"):
        _, config = found
        network.meta["data"] = _public(config["data"])
    metrics = workdir / "metrics.jsonl"
    if metrics.is_file() and (record := _last_record(metrics.read_bytes())):
        network.meta["metrics"] = record


def _last_record(lines: bytes) -> dict[str, Any] | None:
    """Return all records of the last step: other lines are not ours, or a killed process' last."""
    found: dict[str, Any] | None = None
    for line in reversed(lines.split(b"\n")):
        try:
            record = parse_json(line, "metrics.jsonl", "a record")
        except InputError:
            continue
        if "step" not in record or type(record["step"]) is not int:
            continue
        if found is not None and record["step"] != found["step"]:
            break
        found = record | (found or {})
    return found


def _public(data: dict[str, Any]) -> dict[str, Any]:
    """What a stranger can use of `config.data`: the folder's name, not where it lies."""
    kept = {k: v for k, v in data.items() if k not in _PRIVATE and v not in (None, [])}
    if "path" in kept:
        kept["path"] = Path(kept["path"].removeprefix(SCHEME)).name
    return kept


def raw_weights(network: Network, workdir: Path, tree: str) -> None:
    """Put the trained parameters in the place of their moving average.

    Args:
        network: of the workdir's weights file; changed.
        workdir: of the run.
        tree: name of the network's parameters in a checkpoint of the run's stage.

    Raises:
        InputError: if there is no checkpoint of the same step, or it trains no such network.
    """
    steps = complete_steps(workdir / "checkpoints")
    if not steps or steps[-1] != network.meta.get("steps"):
        raise InputError(
            f"--raw: {workdir} has no checkpoint of step {network.meta.get('steps')}, which "
            f"{WEIGHTS} is of, but of {steps or 'none'}"
        )
    stored = read_params(workdir / "checkpoints" / str(steps[-1]))
    if tree not in stored:
        raise InputError(f"--raw: the checkpoint in {workdir} trains no {network.kind}")
    flat: dict[str, Any] = paths.flatten(network.params)
    trained = paths.flatten(stored[tree])
    if unknown := sorted(trained.keys() - flat.keys()):
        raise InputError(f"--raw: {WEIGHTS} in {workdir} lacks {unknown[0]!r} of the checkpoint")
    network.params.clear()
    network.params.update(paths.unflatten(flat | trained))
    network.meta["average"] = False
