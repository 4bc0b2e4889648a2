"""Frozen objects from JSON values: what a weights file or a config says of a module or a spec."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from vldm_jax.core.errors import InputError

T = TypeVar("T")


def make(kind: type[T], fields: Mapping[str, Any], what: str, **more: Any) -> T:
    """Return `kind(**fields, **more)`, the lists among the fields as tuples.

    Args:
        kind: a dataclass.
        fields: JSON values by name.
        what: it is, for messages.
        **more: fields that no file says.

    Raises:
        InputError: naming a field that it has not, or one that it lacks.
    """
    known = {field.name: field for field in dataclasses.fields(kind) if field.name not in more}
    if unknown := sorted(fields.keys() - known.keys()):
        raise InputError(f"{what} has no field {unknown[0]!r}")
    absent = dataclasses.MISSING
    needed = (f.name for f in known.values() if f.default is absent and f.default_factory is absent)
    if missing := [name for name in needed if name not in fields]:
        raise InputError(f"{what} needs its field {missing[0]!r}")
    return kind(**{name: tuples(value) for name, value in fields.items()}, **more)


def tuples(value: Any) -> Any:
    """Return a JSON value with tuples for lists, as in fields, which must be hashable."""
    return tuple(tuples(item) for item in value) if isinstance(value, list | tuple) else value
