"""Whether a workdir belongs to the run that is about to continue in it.

Two configs describe the same run if they differ only in keys that do not change what is learned:
how long, how often to log, save, sample and evaluate, where files go. The list below is all of
them.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from vldm_jax.core.errors import InputError

HARMLESS = (
    r"train\.(total_steps|log_every|sample_every|evaluate_every|stop_after_minutes)",
    r"(checkpoint|sampling|evals)\..*",
    r"data\.(workers|cache|index)",
    r"data\.path",  # the data's position knows its number of examples and their names
    # Compared by what is in the files, not by where they are.
    r"model\.(backbone|autoencoder|init|null_context|null_context_temporal)",
    r"model\.network\.remat",  # memory for time
    # Of earlier versions: said by data.num_frames and by model.network.label_tokens.
    r"model\.temporal\.num_frames|objective\.use_labels",
)

# Keys that earlier versions had not, with what they did: a run of theirs goes on.
FORMER = {
    "model.temporal.convolutions": True,
    "model.temporal.norms": "joint",
    "data.more_fps": [],
    "objective.given": [],
    "objective.given_noise": 0,
}


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config as JSON has it: tuples as lists, keys as strings."""
    return json.loads(json.dumps(config))


def differences(
    stored: Mapping[str, Any], given: Mapping[str, Any], harmless: tuple[str, ...] = HARMLESS
) -> list[str]:
    """Return "key is <stored> there and <given> here" of every key that matters and differs."""
    there, here = _flat(canonical(stored)), _flat(canonical(given))
    there = {key: value for key, value in FORMER.items() if key in here} | there
    lines = []
    for key in sorted(there.keys() | here.keys()):
        if any(re.fullmatch(pattern, key) for pattern in harmless):
            continue
        a, b = (json.dumps(side[key]) if key in side else "absent" for side in (there, here))
        if a != b:
            lines.append(f"{key} is {a} there and {b} here")
    return lines


def check_same_run(folder: Any, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise if the checkpoint in `folder` was made by a config that differs where it matters.

    Raises:
        InputError: naming the first differing keys.
    """
    lines = differences(stored, given)
    if lines:
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise InputError(
            f"{folder} was made by another config: {'; '.join(lines[:3])}{more}: "
            "choose another --workdir or set these back"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
