"""Scalar labels of a folder's videos, from the `labels.json` in it.

    {"names": ["night", "cars"], "clips": {"a.mp4": [1, 3], "sub/b.mp4": [0, null]}}

Other keys are not looked at. Unknown is NaN: `null`, or a video that the file does not name.
Entries of videos that are not there, as in a part of a set, are said and passed over.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json
from vldm_jax.core.words import counted, listed
from vldm_jax.data.faults import shown

LAYOUT = 'write {"names": ["night"], "clips": {"a.mp4": [1]}}'
LARGEST = float(np.finfo(np.float32).max)
MAX_BYTES = 256 << 20  # millions of clips


class FolderLabels(NamedTuple):
    """What a `labels.json` says.

    Attributes:
        names: what the labels mean.
        values: video -> its labels, NaN for `null`.
        spare: entries of videos that the folder lacks.
    """

    names: tuple[str, ...] = ()
    values: Mapping[str, tuple[float, ...]] = MappingProxyType({})
    spare: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """A line on the spare entries, "" for none."""
        if not self.spare:
            return ""
        entries = counted(len(self.spare), "entry", "entries")
        return f"labels.json has {entries} without a video: {listed(list(map(shown, self.spare)))}"


def read_labels(root: Path) -> FolderLabels:
    """Return what a folder's `labels.json` says; nothing without one.

    Raises:
        InputError: if it is not JSON of that layout, or all that it names is not in the folder.
    """
    file = root / "labels.json"
    if not os.path.lexists(file):  # a link that leads nowhere is an error
        return FolderLabels()
    content = read_json(
        file, "a table of labels", remedy=LAYOUT, max_bytes=MAX_BYTES, unique_keys=True
    )
    if not {"names", "clips"} <= content.keys():
        raise InputError(f"{file}: lacks 'names' or 'clips': {LAYOUT}")
    names, clips = content["names"], content["clips"]
    _check_names(file, names)
    if not isinstance(clips, dict):
        raise InputError(f"{file}: 'clips' must be a table: {LAYOUT}")
    labels = {_name(file, clip): _values(file, clip, clips[clip], names) for clip in clips}
    if len(labels) < len(clips):
        raise InputError(f"{file}: names one video in two ways, like 'a.mp4' and './a.mp4'")
    spare = tuple(sorted(name for name in labels if not _is_file(root / name)))
    if spare and len(spare) == len(labels):
        raise InputError(
            f"{file}: names {shown(spare[0])!r}, which is not in the folder, and no video that is: "
            "write names as those of the files, with their suffixes"
        )
    gone = set(spare)
    return FolderLabels(
        names=tuple(names),
        values={name: values for name, values in labels.items() if name not in gone},
        spare=spare,
    )


def describe_labels(names: tuple[str, ...], labels: Any) -> str:
    """Return "  night 1  cars 3"; "?" for unknown."""
    values = ("?" if np.isnan(value) else f"{value:g}" for value in labels)
    return "".join(f"  {name} {value}" for name, value in zip(names, values, strict=True))


def _check_names(file: Path, names: Any) -> None:
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name.isprintable() for name in names
    ):
        raise InputError(f"{file}: 'names' must be a list of text: {LAYOUT}")
    if len(set(names)) < len(names):
        raise InputError(f"{file}: 'names' has a name twice, {names}: {LAYOUT}")


def _name(file: Path, clip: str) -> str:
    """The name as the scan of the folder gives it, so that no label is lost for a stray "./"."""
    path = PurePosixPath(clip)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{file}: {clip!r} leads out of the folder: write paths inside it")
    return path.as_posix()


def _values(file: Path, clip: str, values: Any, names: list[str]) -> tuple[float, ...]:
    kinds = (int, float, type(None))
    if not (isinstance(values, list) and all(isinstance(value, kinds) for value in values)):
        values = None
    if values is None or len(values) != len(names):
        raise InputError(
            f"{file}: {clip!r} must have {len(names)} numbers or null, one for each of {names}: "
            f"{LAYOUT}"
        )
    if any(value is not None and abs(value) > LARGEST for value in values):
        raise InputError(f"{file}: {clip!r} has a number beyond float32's {LARGEST:.3g}")
    return tuple(np.nan if value is None else float(value) for value in values)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
