"""The table of conditions, and how a weights file or a config names one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vldm_jax.conditions.added_time_ids import AddedTimeIds
from vldm_jax.conditions.base import Condition
from vldm_jax.conditions.class_labels import ClassLabels
from vldm_jax.conditions.labels import Labels
from vldm_jax.conditions.text import TemporalText, Text
from vldm_jax.core.errors import InputError

CONDITIONS = {
    "text": Text,
    "temporal_text": TemporalText,
    "labels": Labels,
    "class_labels": ClassLabels,
    "added_time_ids": AddedTimeIds,
}


def condition_of(fields: Mapping[str, Any]) -> Condition:
    """Return the condition with these fields and, under "kind", a key of `CONDITIONS`.

    Raises:
        InputError: if the kind is unknown or has other fields.
    """
    values = dict(fields)
    kind = values.pop("kind", None)
    if kind not in CONDITIONS:
        raise InputError(f"unknown kind of condition {kind!r}; there are {', '.join(CONDITIONS)}")
    known = {field.name: field for field in dataclasses.fields(CONDITIONS[kind])}
    if unknown := sorted(values.keys() - known.keys()):
        raise InputError(f"a condition of kind {kind!r} has no field {unknown[0]!r}")
    absent = dataclasses.MISSING
    needed = {name for name, field in known.items() if field.default is absent}
    if missing := sorted(needed - values.keys()):
        raise InputError(f"a condition of kind {kind!r} needs its field {missing[0]!r}")
    return CONDITIONS[kind](**values)


def fields_of(condition: Condition) -> dict[str, Any]:
    """Return what `condition_of` makes this condition of.

    Raises:
        InputError: if its class is not in the table.
    """
    for kind, row in CONDITIONS.items():
        if row is type(condition):
            return {"kind": kind, **dataclasses.asdict(condition)}
    raise InputError(
        f"{type(condition).__name__} cannot be named in a file: give it a row in CONDITIONS"
    )
