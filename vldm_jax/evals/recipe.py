"""What a figure was made by: two figures may be compared if their recipes are equal.

A recipe is a table of JSON values with everything that the figure depends on beside the model: the
clips (how many, how long, their rate, size and resize, which windows), the real set by its content,
the seeds, and under `judged_by` the networks and measurements that the figures are made of: their
weights by content and package, size and filter, and the revision of their code. What made the
samples (weights, steps, guidance) is in it, too, under `samples`: that is what a comparison is
about, and is told, not held against it.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

COMPARED = "samples"  # what may differ: it is what is compared
HOW_MANY = r"sampling\.(num_videos|batch_size)"  # changes no sample
DIGITS = 12  # of a SHA-256, for a person
JUDGED = "judged_by"  # of all figures that were asked for; of each one, its `made_by` has its own


def recipe_id(recipe: Mapping[str, Any]) -> str:
    """Return a short name of a recipe, equal for equal ones, whatever made the samples."""
    text = json.dumps(_fixed(recipe, COMPARED), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def differences(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return lines "key: this and that" for what two recipes have otherwise, but the samples.

    What judged is compared figure by figure (`report.made_otherwise`): one may have more of them.
    Of a SHA-256 as many digits are shown as tell it from any other; the recipe has them all.
    """
    a, b = (dict(_flat(_fixed(one, COMPARED, JUDGED))) for one in (recipe, other))
    absent = "nothing"
    return [
        f"{key}: {_short(a.get(key, absent))} and {_short(b.get(key, absent))}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key, absent) != b.get(key, absent)
    ]


def sampled_otherwise(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return lines "key: this and that" for settings that samples were made with otherwise.

    These are what is compared; weights and contents, which always differ, are not among them.
    """
    a, b = (dict(_flat(_settings(one))) for one in (recipe, other))
    return [
        f"{key}: {a[key]} and {b[key]}"
        for key in sorted(a.keys() & b.keys())
        if a[key] != b[key] and not re.fullmatch(HOW_MANY, key)
    ]


def _settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    made = json.loads(json.dumps(recipe[COMPARED])) if COMPARED in recipe else {}
    return {key: made[key] for key in ("sampling", "diffusion") if key in made}


def _fixed(recipe: Mapping[str, Any], *without: str) -> dict[str, Any]:
    # JSON has no tuples: one that was written and read again is equal to itself.
    return json.loads(json.dumps({k: v for k, v in recipe.items() if k not in without}))


def _short(value: Any) -> Any:
    is_sum = isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)
    return value[:DIGITS] if is_sum else value


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
