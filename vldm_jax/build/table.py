"""Look up a `kind` in a table and call what stands there with the rest of the section."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from vldm_jax.core.errors import InputError


def from_table(table: Mapping[str, Callable], section: ConfigDict, where: str, **more: Any) -> Any:
    """Return `table[section.kind](**rest of the section, **more)`.

    Args:
        table: constructors by kind.
        section: a section of the config with a key `kind`.
        where: the section's path in the config, for messages.
        more: arguments that do not come from the config.

    Raises:
        InputError: if the kind is not in the table or its constructor refuses an argument.
    """
    fields = section.to_dict()
    kind = fields.pop("kind")
    if kind not in table:
        raise InputError(f"config.{where}.kind={kind!r}: choose one of {sorted(table)}")
    try:
        return table[kind](**fields, **more)
    except TypeError as error:
        raise InputError(f"config.{where} does not fit kind {kind!r}: {error}") from error
