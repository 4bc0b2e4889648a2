"""Clips with something beside them: their captions, or what they should be.

A video of one folder belongs to the one of the other folder that has its name, whatever the two
suffixes are. What has no companion is left out, counted by its reason.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.data.faults import counts_of, shown
from vldm_jax.data.folder import Entry, by_reason, read_folder
from vldm_jax.data.source import decode_clip
from vldm_jax.evals.captions import Captions
from vldm_jax.evals.clips import ClipSet, Place
from vldm_jax.typing import UInt8

CAPTION, REFERENCE = "caption", "reference"
BOXES = "boxes"  # that a clip was asked for; of a run alone, by the key of its data
SPARE = "a reference without a sample"  # a reason of a reference; the others are of samples
RATE = 0.02  # by which rates of one video may differ
ASPECT = 0.01  # by which their height over width may: else the two are cut to other pictures


def with_captions(clips: ClipSet, captions: Captions, seed: int) -> ClipSet:
    """Return the clips whose videos have captions, with those; it may be empty.

    Args:
        clips: of a folder.
        captions: by the names of videos.
        seed: of the draw among several captions.
    """
    found = {i: captions.of(_name(clips, i), seed) for i in range(clips.count)}
    told = {i: text for i, text in found.items() if text is not None}
    lacking = {_name(clips, i) for i in found.keys() - told.keys()}
    left_out = by_reason(("no caption", name) for name in lacking)
    return _told(clips, CAPTION, told, told.__getitem__, left_out)


def with_references(clips: ClipSet, folder: Path, index: Path) -> ClipSet:
    """Return the clips whose videos have one of their name in a folder, with the same frames of it.

    Args:
        clips: of another folder.
        folder: of the references.
        index: file that keeps the scan of that folder.

    Raises:
        InputError: if no clip has one, or two references have one name.
    """
    entries = _by_stem(folder, index)
    told: dict[int, Entry] = {}
    reasons: dict[str, str] = {}
    for i in range(clips.count):
        name = _name(clips, i)
        if reason := _fault(clips, i, entries):
            reasons[name] = reason
        else:
            told[i] = entries[_stem(name)]
    left_out = by_reason((reason, name) for name, reason in reasons.items())
    if not told:
        counts = {reason: len(names) for reason, names in left_out.items()}
        raise InputError(
            f"{shown(folder)} has no video that one of the samples can be compared with "
            f"({counts_of(counts)}): give originals of the samples' names, lengths and rates"
        )
    # A sample that cannot be compared is counted once, by its reason, not by its reference again.
    named = {_stem(name) for names in clips.left_out.values() for name in names}
    named |= {_stem(_name(clips, i)) for i in range(clips.count)}
    left_out |= by_reason((SPARE, one.name) for stem, one in entries.items() if stem not in named)
    _, h, w = clips.shape

    def read(i: int) -> UInt8[np.ndarray, "t h w 3"]:
        return decode_clip(told[i], _place(clips, i).frames, h, w)

    sizes = {one.name: (one.video.height, one.video.width) for one in told.values()}
    other = sum(size != (h, w) for size in sizes.values())
    are = "reference is" if other == 1 else "references are"
    notes = (f"{other} {are} larger than {h}x{w}: resized",) * bool(other)
    return dataclasses.replace(_told(clips, REFERENCE, told, read, left_out), notes=notes)


def _told(
    clips: ClipSet,
    name: str,
    numbers: Iterable[int],
    beside: Callable[[int], Any],
    left_out: Mapping[str, tuple[str, ...]],
) -> ClipSet:
    """Return the clips with these numbers, with what is beside them."""
    whole = dataclasses.replace(clips.with_beside(name, beside), left_out=left_out)
    return whole.picked(np.asarray(sorted(numbers), int))


def _fault(clips: ClipSet, i: int, entries: Mapping[str, Entry]) -> str:
    """Return why a clip has no reference, "" if it has one."""
    own = _place(clips, i).entry
    if (stem := _stem(own.name)) not in entries:
        return "no reference of that name"
    theirs = entries[stem].video
    if len(theirs.pts) != len(own.video.pts):
        return "not as many frames as its reference"
    if abs(theirs.fps / own.video.fps - 1) > RATE:
        return "not at the rate of its reference"
    if theirs.height < clips.shape[1] or theirs.width < clips.shape[2]:
        return f"its reference is smaller than {clips.shape[1]}x{clips.shape[2]}"
    if abs(theirs.height * own.video.width / (theirs.width * own.video.height) - 1) > ASPECT:
        return "not of the aspect of its reference"
    return ""


def _by_stem(folder: Path, index: Path) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in read_folder(folder, index=index, cuts=False).entries:
        stem = _stem(entry.name)
        if stem in found:
            raise InputError(
                f"{shown(folder)}: {shown(found[stem].name)} and {shown(entry.name)} have one "
                "name, so which is a sample's reference is unknown: keep one"
            )
        found[stem] = entry
    return found


def _place(clips: ClipSet, i: int) -> Place:
    if clips.place is None:
        raise InputError(f"{clips.describe(i)} is of no folder, so nothing lies beside it")
    return clips.place(i)


def _name(clips: ClipSet, i: int) -> str:
    return _place(clips, i).entry.name


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
