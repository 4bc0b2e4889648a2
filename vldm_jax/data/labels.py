"""Scalar labels of a folder's videos, from the `labels.json` in it.

    {"names": ["night", "cars"], "clips": {"a.mp4": [1, 3], "sub/b.mp4": [0, null]}}

Other keys are not looked at. Unknown is NaN: `null`, or a video that the file does not name.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError


def read_labels(root: Path) -> tuple[tuple[str, ...], dict[str, tuple[float, ...]]]:
    """Return the names and {video: values} of a folder's `labels.json`; empty without one.

    `null` and videos that it does not name are unknown (NaN).

    Raises:
        InputError: if it is not JSON of that layout, or names a file that the folder lacks.
    """
    file = root / "labels.json"
    if not file.is_file():
        return (), {}
    layout = 'write {"names": ["night"], "clips": {"a.mp4": [1]}}'
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not JSON ({error}): {layout}") from error
    if not isinstance(content, dict) or not {"names", "clips"} <= content.keys():
        raise InputError(f"{file}: lacks 'names' or 'clips': {layout}")
    names, clips = content["names"], content["clips"]
    if not (_is_list_of(names, (str,)) and isinstance(clips, dict)):
        raise InputError(f"{file}: 'names' must be a list of text and 'clips' a table: {layout}")
    for clip, values in clips.items():
        if not _is_list_of(values, (int, float, type(None))) or len(values) != len(names):
            raise InputError(
                f"{file}: {clip!r} must have {len(names)} numbers or null, one for each of "
                f"{names}, got {values!r}: {layout}"
            )
    if missing := sorted(clip for clip in clips if not (root / clip).is_file()):
        raise InputError(
            f"{file}: names {missing[0]!r}, which is not in the folder ({len(missing)} such): "
            "remove the entry or add the file"
        )
    to_float = {
        clip: tuple(np.nan if value is None else float(value) for value in values)
        for clip, values in clips.items()
    }
    return tuple(names), to_float


def describe_labels(names: tuple[str, ...], labels: Any) -> str:
    """Return "  night 1  cars 3"; "?" for unknown."""
    values = ("?" if np.isnan(value) else f"{value:g}" for value in labels)
    return "".join(f"  {name} {value}" for name, value in zip(names, values, strict=True))


def _is_list_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, list) and all(isinstance(item, kinds) for item in value)
