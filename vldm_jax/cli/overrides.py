"""`--config.section.key=value`: one value of a config, by the type of the one that it replaces.

numbers, truth values, tuples    as in Python: 1e-4, True, (0.9, 0.95), ('rain', 'cars')
text                             as it stands, without quotes
None                             where the config has None, or a value that may be absent; of a part
                                 of a stack: the stack is made without it
"""

import ast
import difflib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from vldm_jax.config.ranges import EMPTY_MEANS, MAY_BE_NONE
from vldm_jax.config.table import GONE
from vldm_jax.core.errors import InputError

EXPECTED = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    tuple: "a tuple",
}
TEXTS = "('night', 'cars')"
OF_A_PART = "('sampling.steps=16',)"


def override(config: ConfigDict, word: str, where: str) -> None:
    """Change one value of a config.

    Args:
        config: locked; changed.
        word: "--config.section.key=value".
        where: the config, for messages.

    Raises:
        InputError: if there is no such key, or the value is of another type.
    """
    key, equals, text = word.removeprefix("--config.").partition("=")
    if not equals:
        raise InputError(f"{where}: write {word}=VALUE")
    *parents, name = key.split(".")
    section = config
    for parent in parents:
        if not isinstance(section, ConfigDict) or parent not in section:
            raise InputError(f"{where}: {_unknown(config, key, parent, section)}")
        section = section[parent]
    if not isinstance(section, ConfigDict) or name not in section:
        raise InputError(f"{where}: {_unknown(config, key, name, section)}")
    current = section[name]
    if isinstance(current, ConfigDict):
        if parents == ["parts"] and text == "None":
            with config.unlocked():
                del section[name]
            return
        raise InputError(f"{where}: config.{key} is a section: give one of its keys a value")
    wanted = section.get_type(name)
    if wanted is type(None) and key in MAY_BE_NONE:  # a placeholder, after it was stored
        wanted = MAY_BE_NONE[key]
    try:
        section[name] = parse(text, current, wanted, key)
    except (TypeError, ValueError, SyntaxError) as error:
        expected = EXPECTED.get(wanted, wanted.__name__)
        hint = _of_tuple(key, text, current) if wanted is tuple else ""
        raise InputError(f"{where}: config.{key}={text}: expected {expected}{hint}") from error


def _of_tuple(key: str, text: str, current: Any) -> str:
    """Return how a tuple is given: as the one that is there, or what an empty one means."""
    if text == "None" and key in EMPTY_MEANS:
        return f"; {EMPTY_MEANS[key]}"
    if key.startswith("parts."):
        return f'; in a shell, quote it and its text: "{OF_A_PART}"'
    if current and not any(isinstance(value, str) for value in current):
        return f"; in a shell, quote it: {shlex.quote(f'--config.{key}={current}')}"
    return f'; in a shell, quote it and its text: "{current or TEXTS}"'


def parse(text: str, current: Any, wanted: type, key: str) -> Any:
    """Return the value of a word, of the type `wanted`.

    Args:
        text: what stands after "=".
        current: the value that is replaced.
        wanted: its type, or that of a placeholder.
        key: of the config, which says whether None is meant.

    Raises:
        TypeError: if the text is of another type.
        ValueError: if the text is no value.
        SyntaxError: if the text is no Python.
    """
    if text == "None" and (current is None or key in MAY_BE_NONE):
        return None
    if wanted is str:
        return text
    if wanted in (type(None), object):  # a key that only its config knows, or of several types
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    value = ast.literal_eval(text.strip())
    if wanted is tuple and isinstance(value, list):
        value = tuple(value)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted in (bool, int, float, tuple) and type(value) is not wanted:
        raise TypeError(f"{text} is of type {type(value).__name__}")
    return value


def _unknown(config: ConfigDict, key: str, name: str, section: Any) -> str:
    if key in GONE:
        return f"the config has no key {key!r} any more: {GONE[key]}"
    here = list(section) if isinstance(section, ConfigDict) else []
    if near := difflib.get_close_matches(name, here, 1):
        return f"the config has no key {name!r}; did you mean {near[0]!r}?"
    elsewhere = [path for path in _paths(config) if path.split(".")[-1] == name]
    if elsewhere:
        return f"the config has no key {key!r}; did you mean {' or '.join(elsewhere)}?"
    of_parts = f'; of a part: --config.parts.NAME.overrides="{OF_A_PART}"'
    return (
        f"the config has no key {key!r}; here are {', '.join(here) or 'none'}"
        f"{of_parts if 'parts' in config else ''}"
    )


def _paths(tree: Mapping[str, Any] | ConfigDict, prefix: str = "") -> Iterator[str]:
    for name, value in tree.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping | ConfigDict):
            yield from _paths(value, f"{prefix}{name}.")
