"""Frozen objects from JSON values: what a weights file or a config says of a module or a spec.

`make` looks at the names of the fields, `check_fields`, which a module or a spec calls as it is
made, at each value by itself; what does not go together the module knows.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from vldm_jax.core.errors import InputError

T = TypeVar("T")


class Rule(NamedTuple):
    """What a field may be.

    Attributes:
        holds: value -> whether it is so.
        wanted: the same in words.
    """

    holds: Callable[[Any], bool]
    wanted: str


def number(holds: Callable[[Any], bool], wanted: str, *types: type) -> Rule:
    """Return the rule of a finite number of one of these types, which truth values are not."""

    def good(value: Any) -> bool:
        if type(value) not in types or not (type(value) is int or math.isfinite(value)):
            return False
        return holds(value)

    return Rule(good, wanted)


COUNT = number(lambda v: v >= 1, "a whole number of at least 1", int)
NATURAL = number(lambda v: v >= 0, "a whole number of at least 0", int)
WHOLE = number(lambda v: True, "a whole number", int)
NUMBER = number(lambda v: True, "a finite number", int, float)
POSITIVE = number(lambda v: v > 0, "more than 0", int, float)
RATE = number(lambda v: 0 <= v < 1, "in [0, 1)", int, float)
FLAG = Rule(lambda v: type(v) is bool, "True or False")
TEXT = Rule(lambda v: isinstance(v, str), "a text")


def optional(rule: Rule) -> Rule:
    """Return the rule of what may be None, too."""
    return Rule(lambda v: v is None or rule.holds(v), f"{rule.wanted} or None")


def several(rule: Rule, least: int = 1) -> Rule:
    """Return the rule of a tuple, every entry by `rule`, at least `least` of them."""
    return Rule(
        lambda v: isinstance(v, tuple) and len(v) >= least and all(map(rule.holds, v)),
        f"a tuple of {least} or more, each {rule.wanted}",
    )


def either(one: Rule, other: Rule) -> Rule:
    """Return the rule of what is by one of two."""
    return Rule(lambda v: one.holds(v) or other.holds(v), f"{one.wanted}, or {other.wanted}")


def check_fields(what: str, owner: Any, rules: Mapping[str, Rule]) -> None:
    """Raise unless every field is by its rule.

    Args:
        what: the owner is, for the message.
        owner: of the fields.
        rules: by the field's name.

    Raises:
        InputError: naming the first that is not, and what it may be.
    """
    for name, rule in rules.items():
        value = getattr(owner, name)
        if not rule.holds(value):
            raise InputError(f"{what}: {name}={value!r} must be {rule.wanted}")


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
