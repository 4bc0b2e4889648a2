"""JSON that somebody else may have written or damaged: bounded, and refused in one line.

`json.loads` alone lets through what ends later in a traceback or a full memory: files of any size,
nesting that overflows the stack of whoever walks it, `NaN`, integers of thousands of digits. What
comes out of here is finite, at most `MAX_DEPTH` deep, and its integers fit into 64 bits. What the
keys and values mean is for the caller to check.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from vldm_jax.core.errors import InputError

MAX_DEPTH = 64
MAX_BYTES = 32 << 20
NAMES = {dict: "an object {...}", list: "a list [...]"}


def read_json(
    path: str | os.PathLike[str],
    what: str,
    *,
    remedy: str = "get the file again",
    kind: type = dict,
    max_bytes: int = MAX_BYTES,
    unique_keys: bool = False,
) -> Any:
    """Return the content of a JSON file, as `parse_json` does.

    Args:
        path: the file, UTF-8 with or without a byte-order mark.
        what: what it should be, for the message: "a table of labels".
        remedy: what to do about a bad one, for the message.
        kind: type of the whole, dict or list.
        max_bytes: size up to which it is read.
        unique_keys: refuse an object that has a key twice, of which JSON would keep the last.

    Raises:
        InputError: naming the file, if it cannot be read or is not such JSON.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file, expected {what}: {remedy}")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected {what}") from error
    if len(content) > max_bytes:
        raise InputError(f"{path}: not {what} (larger than {max_bytes >> 20} MiB): {remedy}")
    return parse_json(content, path, what, remedy=remedy, kind=kind, unique_keys=unique_keys)


def parse_json(
    content: bytes | str,
    where: str | os.PathLike[str],
    what: str,
    *,
    remedy: str = "get the file again",
    kind: type = dict,
    unique_keys: bool = False,
) -> Any:
    """Return the value of JSON text whose size the caller has bounded.

    An integer that does not fit into 64 bits becomes the float that JSON takes it for.

    Args:
        content: the text, or its bytes in UTF-8 with or without a byte-order mark.
        where: the file, or the place in it, for the message.
        what: what it should be, for the message.
        remedy: what to do about a bad one, for the message.
        kind: type of the whole, dict or list.
        unique_keys: refuse an object that has a key twice, of which JSON would keep the last.

    Raises:
        InputError: if it is not JSON, holds NaN or an infinite number, or is nested too deeply.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(
            text, parse_int=_integer, parse_float=_finite, parse_constant=_refuse_constant,
            object_pairs_hook=_unique if unique_keys else None,
        )  # fmt: skip
    except RecursionError:
        raise InputError(f"{where}: not {what} (nested too deeply): {remedy}") from None
    except ValueError as error:
        raise InputError(f"{where}: not {what} (not JSON: {error}): {remedy}") from error
    if not isinstance(value, kind):
        raise InputError(f"{where}: not {what} (it must be {NAMES[kind]}): {remedy}")
    if _is_deeper(value, MAX_DEPTH):
        raise InputError(f"{where}: not {what} (nested too deeply): {remedy}")
    return value


def _integer(digits: str) -> int | float:
    if len(digits) <= 20 and -(2**63) <= (value := int(digits)) < 2**63:
        return value
    return _finite(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"a number of {len(digits)} characters is out of range")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice!r} stands there twice")
    return found


def _is_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        children = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for items in children for child in items if isinstance(child, (dict, list))]
        if not level:
            return False
    return True
