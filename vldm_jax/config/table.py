"""Look up a `kind` in a table and call what stands there with the rest of the section."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from vldm_jax.core.errors import InputError

NAMED = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
# Keys of earlier versions, and what says the same now.
GONE = {
    "model.temporal.num_frames": "a mix a frame follows config.data.num_frames",
    "objective.use_labels": "labels are used if config.model.network.label_tokens names some",
}
# Sections and keys that earlier versions had not: of a run of theirs they are as in the base.
ADDED = (
    "train.evaluate_every", "evals", "data.more_fps", "objective.given", "objective.given_noise",
    "sampling.given", "sampling.given_noise", "sampling.context_guidance", "sampling.batch_size",
    "sampling.decode", "sampling.method",
)  # fmt: skip


def from_table(table: Mapping[str, Callable], section: ConfigDict, where: str, **more: Any) -> Any:
    """Return `table[section.kind](**rest of the section, **more)`.

    Args:
        table: constructors by kind.
        section: a section of the config with a key `kind`.
        where: the section's path in the config, for messages.
        more: arguments that do not come from the config.

    Raises:
        InputError: if the kind is not in the table, the section has a key that its constructor does
            not take, or lacks one that it needs.
    """
    fields = section.to_dict()
    kind = fields.pop("kind", None)
    if kind not in table:
        raise InputError(f"config.{where}.kind={kind!r}: choose one of {sorted(table)}")
    takes = inspect.signature(table[kind]).parameters
    if not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        check_keys(fields, [name for name in takes if name not in more], f"{where} {kind!r}")
    needed = {n for n, one in takes.items() if one.default is one.empty and one.kind in NAMED}
    if missing := sorted(needed - fields.keys() - more.keys()):
        raise InputError(f"config.{where} of kind {kind!r} lacks {missing[0]!r}")
    return table[kind](**fields, **more)


def check_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise for a key that nothing reads: a slip of the pen would be silent.

    Args:
        given: keys of a section.
        known: keys that are read.
        where: the section, for the message; "" for the whole config.

    Raises:
        InputError: naming the key and the nearest known one.
    """
    known = list(known)
    place = f"config.{where}" if where else "the config"
    for key in given:
        if f"{where}.{key}" in GONE:
            raise InputError(f"config.{where}.{key} is gone, remove it: {GONE[f'{where}.{key}']}")
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}"
            raise InputError(f"{place} has no key {key!r}{hint}")
