"""The table of conditions, and how a weights file or a config names one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vldm_jax.conditions.added_time_ids import AddedTimeIds
from vldm_jax.conditions.base import Condition
from vldm_jax.conditions.boxes import Boxes
from vldm_jax.conditions.class_labels import ClassLabels
from vldm_jax.conditions.context_frames import ContextFrames
from vldm_jax.conditions.context_noise import ContextNoise
from vldm_jax.conditions.frame_rate import FrameRate
from vldm_jax.conditions.labels import Labels
from vldm_jax.conditions.low_res_noise import LowResNoise
from vldm_jax.conditions.text import TemporalText, Text
from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import make

CONDITIONS = {
    "text": Text,
    "temporal_text": TemporalText,
    "labels": Labels,
    "class_labels": ClassLabels,
    "added_time_ids": AddedTimeIds,
    "context_frames": ContextFrames,
    "context_noise": ContextNoise,
    "frame_rate": FrameRate,
    "low_res_noise": LowResNoise,
    "boxes": Boxes,
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
    return make(CONDITIONS[kind], values, f"a condition of kind {kind!r}")


def conditions_of(rows: Any) -> tuple[Condition, ...]:
    """Return the conditions of a list of fields, see `condition_of`.

    Raises:
        InputError: if it is no such list.
    """
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f"more_conditions must be a list of conditions, each a table: got {rows}")
    return tuple(map(condition_of, rows))


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
