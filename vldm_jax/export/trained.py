"""What a run left behind, as a network that can be exported, with all that is known of it."""

import json
from pathlib import Path
from typing import Any

from vldm_jax.checkpoint.inspect import read_params
from vldm_jax.checkpoint.manager import complete_steps, read_json_item
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.core import paths
from vldm_jax.core.assets import SCHEME
from vldm_jax.core.errors import InputError
from vldm_jax.models.network import Network

_PRIVATE = ("cache", "index", "workers")  # of config.data: how it was read, not what it was
# Where a stage's checkpoint keeps what its weights file holds.
_TREES = {"autoencoder": "autoencoder", "unet": "network", "temporal": "network"}


def describe_run(network: Network, workdir: Path) -> None:
    """Add to a network's `meta` the data and the last metrics of the run that made it, if known."""
    if steps := complete_steps(workdir / "checkpoints"):
        config = read_json_item(workdir / "checkpoints" / str(steps[-1]), "config")
        network.meta["data"] = _public(config["data"])
    metrics = workdir / "metrics.jsonl"
    if metrics.is_file():
        # The last line is cut where the run was killed while writing it.
        lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        if whole := [line for line in lines if line.endswith("}\n")]:
            network.meta["metrics"] = json.loads(whole[-1])


def _public(data: dict[str, Any]) -> dict[str, Any]:
    """What a stranger can use of `config.data`: the folder's name, not where it lies."""
    kept = {k: v for k, v in data.items() if k not in _PRIVATE and v not in (None, [])}
    if "path" in kept:
        kept["path"] = Path(kept["path"].removeprefix(SCHEME)).name
    return kept


def raw_weights(network: Network, workdir: Path) -> None:
    """Put the trained parameters in the place of their moving average.

    Args:
        network: of the workdir's weights file; changed.
        workdir: of the run.

    Raises:
        InputError: if there is no checkpoint of the same step.
    """
    steps = complete_steps(workdir / "checkpoints")
    if not steps or steps[-1] != network.meta.get("steps"):
        raise InputError(
            f"--raw: {workdir} has no checkpoint of step {network.meta.get('steps')}, which "
            f"{WEIGHTS} is of, but of {steps or 'none'}"
        )
    stored = read_params(workdir / "checkpoints" / str(steps[-1]))
    if _TREES[network.kind] not in stored:
        raise InputError(f"--raw: the checkpoint in {workdir} trains no {network.kind}")
    flat: dict[str, Any] = paths.flatten(network.params)
    trained = paths.flatten(stored[_TREES[network.kind]])
    if unknown := sorted(trained.keys() - flat.keys()):
        raise InputError(f"--raw: {WEIGHTS} in {workdir} lacks {unknown[0]!r} of the checkpoint")
    network.params.clear()
    network.params.update(paths.unflatten(flat | trained))
    network.meta["average"] = False
