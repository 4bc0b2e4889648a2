"""Numbers of each clip, by which sets are compared: computed once a clip, kept by its content.

An extractor turns a clip into rows of numbers: features of a network (one row a clip for I3D, one a
frame for an image classifier), or what a measurement found (flicker, motion). Some take something
beside the clip: its caption, or what it should be.

All extractors are given the clips in one pass: a clip that several of them want, or that is in
several sets, is read and hashed once. In memory are the numbers, and the clips of one batch for
each extractor, however many clips there are. What was found is kept by the SHA-256 of the clip and
of the recipe that it was computed by (`kept_numbers`), so a second evaluation costs only the clips
that are new, and no figure mixes two recipes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.progress import Progress
from vldm_jax.evals.clips import ClipSet, check_bytes, digest
from vldm_jax.evals.kept_numbers import keep, recall
from vldm_jax.typing import Float, UInt8

Asked = Sequence[tuple[ClipSet, Sequence["Extractor"]]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Extractor:
    """What makes numbers of clips.

    Attributes:
        name: of the network or measurement.
        compute: clips (b t h w 3) -> numbers (b rows d); called with `batch` clips at a time, and
            with a list of what is beside each, if it takes that.
        recipe: all that the numbers depend on beside the clip and the code: weights, size, filter.
        revision: of the code: one more with every change that changes the numbers, so that those
            that are kept of the former are not taken for its own (`tests/evals/test_revisions.py`).
        batch: clips in one call.
        beside: what it takes beside a clip, a key of `ClipSet.beside`; "" for nothing.
        remark: (descriptions of clips, what is beside them) -> what a person should know of that,
            "" for nothing.
    """

    name: str
    compute: Callable[..., Float[np.ndarray, "b rows d"]]
    recipe: Mapping[str, Any]
    revision: int = 1
    batch: int = 8
    beside: str = ""
    remark: Callable[[Sequence[str], Sequence[Any]], str] | None = None

    @property
    def made_by(self) -> dict[str, Any]:
        """All that the numbers depend on beside the clip, as JSON values."""
        return {"revision": self.revision, **self.recipe}

    @property
    def folder(self) -> str:
        """Name of the folder of its files."""
        text = json.dumps({"name": self.name, **self.made_by}, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Extracted:
    """The numbers of a set of clips.

    Attributes:
        rows: (n rows d), a clip first.
        digests: of the clips.
        recalled: clips whose numbers were there already.
        beside: digests of what is beside the clips, if the extractor takes that.
    """

    rows: Float[np.ndarray, "n rows d"]
    digests: list[str]
    recalled: int
    beside: list[str]


def extract(extractor: Extractor, clips: ClipSet, *, cache: Path | None) -> Extracted:
    """Return the numbers of every clip of one set; arguments and errors as in `extract_all`."""
    (found,) = extract_all([(clips, [extractor])], cache=cache)
    return found[extractor.name]


def extract_all(asked: Asked, *, cache: Path | None) -> list[dict[str, Extracted]]:
    """Return the numbers of every clip of several sets, by the names of their extractors.

    Args:
        asked: (set, its extractors); sets that were picked from one set share its clips.
        cache: folder that keeps numbers; None for none.

    Raises:
        InputError: if a clip is not what its set says, or its numbers are not finite.
    """
    tables = {one.name: _Table(one, cache) for _, extractors in asked for one in extractors}
    seen = [_Seen(clips.count, extractors) for clips, extractors in asked]
    visits = list(_visits(asked))
    with Progress("judging", len(visits), "clip") as progress:
        for visit in visits:
            first, position = visit.places[0]
            clip = _read(asked[first][0], position)
            whole = digest(clip)
            for number, position in visit.places:
                clips, extractors = asked[number]
                beside = {kind: clips.beside[kind](position) for kind in seen[number].beside}
                seen[number].note(position, whole, beside)
                for one in extractors:
                    waiting = _Waiting(clip, beside.get(one.beside), clips, position)
                    tables[one.name].ask(seen[number].key(position, one.beside), waiting)
            progress.update()
        for table in tables.values():
            table.compute()
    return [
        {one.name: tables[one.name].of(found, one.beside) for one in extractors}
        for found, (_, extractors) in zip(seen, asked, strict=True)
    ]


class _Seen:
    """Digests of the clips of one set, and of what is beside them, by their kinds."""

    def __init__(self, count: int, extractors: Sequence[Extractor]) -> None:
        self.clips = [""] * count
        self.beside = {one.beside: [""] * count for one in extractors if one.beside}

    def note(self, position: int, clip: str, beside: Mapping[str, Any]) -> None:
        self.clips[position] = clip
        for kind, value in beside.items():
            self.beside[kind][position] = _digest_beside(value)

    def key(self, position: int, kind: str) -> str:
        """Return what names a clip's numbers."""
        whole = self.clips[position]
        return _key(whole, self.beside[kind][position]) if kind else whole


class _Visit(NamedTuple):
    """One clip, and the places (number of the set, position in it) where it is."""

    places: list[tuple[int, int]]


class _Waiting(NamedTuple):
    clip: UInt8[np.ndarray, "t h w 3"]
    beside: Any
    clips: ClipSet
    position: int


class _Table:
    """The numbers that one extractor found, by key; asks for them a batch at a time."""

    def __init__(self, extractor: Extractor, cache: Path | None) -> None:
        self.extractor, self.cache, self.folder = extractor, cache, extractor.folder
        self.found: dict[str, Float[np.ndarray, "rows d"]] = {}
        self.recalled: set[str] = set()
        self.waiting: dict[str, _Waiting] = {}

    def ask(self, key: str, waiting: _Waiting) -> None:
        """See that there will be numbers of a clip."""
        if key in self.found or key in self.waiting:
            return
        if (known := recall(self.cache, self.folder, key)) is not None:
            self.found[key] = known
            self.recalled.add(key)
            return
        self.waiting[key] = waiting
        if len(self.waiting) == self.extractor.batch:
            self.compute()

    def compute(self) -> None:
        """Find the numbers of the clips that wait."""
        if not self.waiting:
            return
        batch = list(self.waiting.values())
        batch += batch[:1] * (self.extractor.batch - len(batch))  # one program serves all
        told = [[one.beside for one in batch]] if self.extractor.beside else []
        rows = self.extractor.compute(np.stack([one.clip for one in batch]), *told)
        for (key, one), values in zip(
            self.waiting.items(), np.asarray(rows, np.float32), strict=False
        ):
            if not np.isfinite(values).all():
                raise InputError(
                    f"{self.extractor.name} of {one.clips.describe(one.position)} is not a finite "
                    "number: leave that clip out"
                )
            keep(self.cache if one.clips.kept else None, self.folder, key, values)
            self.found[key] = values
        self.waiting = {}

    def of(self, seen: _Seen, kind: str) -> Extracted:
        """Return the numbers of a set."""
        keys = [seen.key(position, kind) for position in range(len(seen.clips))]
        rows = np.stack([self.found[key] for key in keys])
        recalled = sum(key in self.recalled for key in keys)
        beside = seen.beside[kind] if kind else []
        return Extracted(rows=rows, digests=seen.clips, recalled=recalled, beside=beside)


def _visits(asked: Asked) -> Iterator[_Visit]:
    """Yield every clip of all sets once, in the order of the sets."""
    found: dict[tuple[int, int], _Visit] = {}
    for number, (clips, extractors) in enumerate(asked):
        for position in range(clips.count if extractors else 0):
            own = (id(clips), position)
            if clips.origin is not None and clips.numbers is not None:
                own = (id(clips.origin), int(clips.numbers[position]))
            found.setdefault(own, _Visit([])).places.append((number, position))
    yield from found.values()


def _read(clips: ClipSet, position: int) -> UInt8[np.ndarray, "t h w 3"]:
    clip = clips.read(position)
    check_bytes(clip, clips.describe(position))
    if clip.shape != (*clips.shape, 3):
        raise InputError(
            f"{clips.describe(position)} is {clip.shape} (frames, rows, columns, colours), its set "
            f"{(*clips.shape, 3)}: leave that clip out"
        )
    return clip


def _digest_beside(value: Any) -> str:
    if isinstance(value, str):
        return hashlib.sha256(value.encode()).hexdigest()
    return digest(value)


def _key(clip: str, beside: str) -> str:
    return hashlib.sha256(f"{clip} {beside}".encode()).hexdigest()
