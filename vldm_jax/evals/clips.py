"""Sets of clips to be compared: all of one length, rate and size, read one at a time.

A folder of anybody's videos becomes a set by cutting windows out of it (`data.source`), so a video
that is damaged, too short, too slow or too small is left out, counted and reported. Which windows:

    all      every window of a video that overlaps no other
    one      one of each video, at a place drawn by the seed: the protocol of FVD
    first    the one that each video begins with: what a generator's samples are
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.data.folder import Entry, read_folder
from vldm_jax.data.source import ClipSource, folder_source
from vldm_jax.evals.labels import Labels
from vldm_jax.typing import Int, Shaped, UInt8

WINDOWS = ("all", "one", "first")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Place:
    """Where a clip of a folder comes from.

    Attributes:
        entry: the video.
        frames: its frames that the clip is made of.
    """

    entry: Entry
    frames: Int[np.ndarray, " t"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClipSet:
    """Clips to be compared.

    Attributes:
        read: number -> clip (t h w 3), the same one every time.
        describe: number -> where it comes from.
        count: number of clips.
        fps: frames per second.
        shape: (t, h, w) of every clip.
        notes: what a person should know of how it was made.
        left_out: reason -> the names of the videos that gave no clip.
        video: number -> the video, or shot of one, that it is cut from; None if each is of its own.
        place: number -> where in a folder of videos; None for clips of no folder.
        beside: what each clip has beside it, as a caption: name -> (number -> that).
        origin: the set that these clips were picked from, if they were.
        numbers: their numbers there.
        labels: of the clips, where they have some.
        kept: whether their numbers are kept for another evaluation; not of clips that none will
            ever see again.
    """

    read: Callable[[int], UInt8[np.ndarray, "t h w 3"]]
    describe: Callable[[int], str]
    count: int
    fps: float
    shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    video: Callable[[int], int] | None = None
    place: Callable[[int], Place] | None = None
    beside: Mapping[str, Callable[[int], Any]] = dataclasses.field(default_factory=dict)
    origin: "ClipSet | None" = None
    numbers: Int[np.ndarray, " k"] | None = None
    labels: Labels | None = None
    kept: bool = True

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
        return map(self.read, range(self.count))

    def picked(self, numbers: Int[np.ndarray, " k"]) -> "ClipSet":
        """Return the set of the clips with these numbers, in their order."""

        def of(function: Callable[[int], Any]) -> Callable[[int], Any]:
            return lambda i: function(int(numbers[i]))

        return dataclasses.replace(
            self,
            read=of(self.read),
            describe=of(self.describe),
            count=len(numbers),
            video=None if self.video is None else of(self.video),
            place=None if self.place is None else of(self.place),
            beside={name: of(function) for name, function in self.beside.items()},
            origin=self if self.origin is None else self.origin,
            numbers=numbers if self.numbers is None else self.numbers[numbers],
            labels=None if self.labels is None else self.labels.picked(numbers),
        )

    def of_frames(self, frames: Sequence[int]) -> "ClipSet":
        """Return the set of these frames of every clip: other clips, with nothing beside them."""
        which = list(frames)
        return dataclasses.replace(
            self, read=lambda i: self.read(i)[which], shape=(len(which), *self.shape[1:]),
            place=None, beside={}, origin=None, numbers=None,
        )  # fmt: skip

    @property
    def videos(self) -> Int[np.ndarray, " n"] | None:
        """The video, or shot of one, of every clip; None if each is of its own."""
        if self.video is None:
            return None
        return np.array([self.video(i) for i in range(self.count)])

    def with_beside(self, name: str, function: Callable[[int], Any]) -> "ClipSet":
        """Return the same clips that have something beside them: number -> what."""
        same = self.picked(np.arange(self.count))
        return dataclasses.replace(same, beside={**self.beside, name: function})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """How the videos of a folder are.

    Attributes:
        height: rows, of most of them.
        width: columns, of most.
        fps: frames per second, of most.
        frames: of the shortest one.
        kinds: how many there are of each ((height, width), fps).
    """

    height: int
    width: int
    fps: float
    frames: int
    kinds: Mapping[tuple[tuple[int, int], float], int]


def look(folder: Path, index: Path) -> Look:
    """Return how the videos of a folder are.

    Args:
        folder: of videos, searched recursively, or one file.
        index: file that keeps the scan.

    Raises:
        InputError: if none can be used.
    """
    kinds: dict[tuple[tuple[int, int], float], int] = {}
    videos = [entry.video for entry in read_folder(folder, index=index, cuts=False).entries]
    for video in videos:
        kind = ((video.height, video.width), round(video.fps, 2))
        kinds[kind] = 1 + (kinds[kind] if kind in kinds else 0)
    (height, width), fps = max(kinds, key=lambda kind: kinds[kind])
    frames = min(len(video.pts) for video in videos)
    return Look(height=height, width=width, fps=fps, frames=frames, kinds=kinds)


def folder_clips(
    folder: Path,
    *,
    shape: tuple[int, int, int],
    fps: int | float,
    windows: str,
    seed: int,
    index: Path,
    cuts: bool = True,
) -> ClipSet:
    """Return the clips of a folder of videos in an order drawn by the seed.

    Args:
        folder: of videos, searched recursively, or one file.
        shape: (t, h, w) of a clip; larger videos are cut and resized (`data.transforms`).
        fps: frames per second, at most the videos' own.
        windows: one of `WINDOWS`.
        seed: of the order, and of the places of "one".
        index: file that keeps the scan of the folder.
        cuts: whether to look for cuts, which no clip then has inside.

    Raises:
        InputError: if nothing is usable, or `windows` is unknown.
    """
    if windows not in WINDOWS:
        raise InputError(f"windows {windows!r} is unknown: choose one of {', '.join(WINDOWS)}")
    frames, height, width = shape
    source = folder_source(
        folder, height=height, width=width, fps=fps, num_frames=frames,
        stride=1 if windows == "one" else frames, index=index, cuts=cuts,
    )  # fmt: skip
    random = np.random.default_rng(seed)
    numbers = _chosen(source.video, windows, random)
    everything = ClipSet(
        read=lambda i: _content(source, i), describe=source.describe, count=len(source),
        fps=float(fps), shape=shape, notes=tuple(_notes(source)), left_out=source.left_out,
        video=lambda i: int(source.video[i]),
        place=lambda i: Place(entry=source.entries[source.video[i]], frames=source.frames[i]),
        labels=_labels(source),
    )  # fmt: skip
    return everything.picked(random.permutation(numbers))


def array_clips(
    videos: Shaped[np.ndarray, "b t h w 3"], fps: int | float, names: str = "clip"
) -> ClipSet:
    """Return clips that are in memory already.

    Raises:
        InputError: if they are no bytes, naming the first clip that is not even finite.
    """
    if videos.dtype != np.uint8:
        bad = (i for i, clip in enumerate(videos) if not np.isfinite(clip).all())
        worst = next(bad, 0)
        check_bytes(videos[worst], f"{names} {worst}")
    return ClipSet(
        read=lambda i: videos[i], describe=lambda i: f"{names} {i}", count=len(videos),
        fps=float(fps), shape=videos.shape[1:4],
    )  # fmt: skip


def check_bytes(clip: Shaped[np.ndarray, "..."], what: str) -> None:
    """Raise unless the values of a clip are bytes: what else they mean would be a guess.

    Raises:
        InputError: saying what they are, and whether they are finite at all.
    """
    if clip.dtype != np.uint8:
        broken = "" if np.isfinite(clip).all() else ", with values that are not finite"
        raise InputError(f"{what} is {clip.dtype}{broken}: give frames as uint8, from 0 to 255")


def digest(clip: Shaped[np.ndarray, "..."]) -> str:
    """Return the SHA-256 of the type, shape and values of a clip, or of numbers beside one."""
    head = f"{clip.dtype} {clip.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(clip).tobytes()).hexdigest()


def digest_of_set(digests: list[str]) -> str:
    """Return the SHA-256 of a set's clips, whatever their order."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _chosen(
    video: Int[np.ndarray, " n"], windows: str, random: np.random.Generator
) -> Int[np.ndarray, " k"]:
    """Return the windows that are taken, of which `video` says whose they are, in their order."""
    if windows == "all":
        return np.arange(len(video))
    _, starts, counts = np.unique(video, return_index=True, return_counts=True)
    return starts if windows == "first" else starts + random.integers(0, counts)


def _content(source: ClipSource, number: int) -> UInt8[np.ndarray, "t h w 3"]:
    example = source[number]
    return example["video"] if "video" in example else example["image"][None]


def _labels(source: ClipSource) -> Labels | None:
    if not source.label_names:
        return None
    of = [entry.labels for entry in source.entries]
    return Labels(names=source.label_names, of=lambda i: of[source.video[i]])


def _notes(source: ClipSource) -> Iterator[str]:
    """Lines on the folder, and on what is resized or at another rate: figures change by it."""
    yield from source.remarks
    used = [source.entries[number].video for number in np.unique(source.video)]
    sizes = sorted({(v.height, v.width) for v in used} - {(source.height, source.width)})
    other = sum((v.height, v.width) != (source.height, source.width) for v in used)
    if other:
        names = ", ".join(f"{h}x{w}" for h, w in sizes[:3]) + (", ..." if len(sizes) > 3 else "")
        yield (
            f"{other} of {len(used)} videos are {names}: cut and resized to "
            f"{source.height}x{source.width}"
        )
    fps = source.fps[0]  # of all windows
    if other := sum(abs(v.fps / fps - 1) > 0.02 for v in used):
        rates = sorted({round(v.fps, 2) for v in used})
        names = ", ".join(f"{rate:g}" for rate in rates[:3]) + (", ..." if len(rates) > 3 else "")
        yield f"{other} of {len(used)} videos have {names} fps: frames taken at {fps:g} fps"
