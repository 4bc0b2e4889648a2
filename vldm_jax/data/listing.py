"""The files of a folder: videos by their names, and a count of what is none.

Links to folders are followed, and a folder that is reached twice (a link back up, two links to one
place) is listed once, under its own name if it has one here. Hidden files and folders are passed
over but counted.
"""

import errno
import os
import stat
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vldm_jax.core.errors import InputError
from vldm_jax.core.words import counted
from vldm_jax.data.faults import REMOVE, Fault, VideoError, shown, unreadable

SUFFIXES = frozenset(
    ".mp4 .m4v .mov .qt .mj2 .3gp .3g2 .f4v .ismv .mkv .mk3d .webm .avi .divx .mpg .mpeg .mpe "
    ".m1v .m2v .mpv .vob .mod .ts .mts .m2ts .m2t .m2p .tp .trp .tod .ogv .ogg .ogm .wmv .asf "
    ".wtv .flv .rm .rmvb .dv .dif .mxf .gxf .y4m .nut .ivf .obu .gif .webp .apng .mjpeg .mjpg "
    ".h264 .264 .h265 .265 .hevc .av1 .amv .swf .dav .dvr-ms".split()
)
OURS = ("labels.json", "boxes.npz")  # what lies beside the videos, by our own hand


@dataclass(frozen=True, eq=False, kw_only=True)
class Listing:
    """What lies in a folder.

    Attributes:
        root: the folder that names are relative to.
        files: videos by their suffix, in order of their names.
        faults: what could not be looked into, by name.
        others: what is no video, by kind.
    """

    root: Path
    files: tuple[Path, ...]
    faults: Mapping[str, VideoError]
    others: Mapping[str, int]


def list_videos(path: Path) -> Listing:
    """Return what a folder holds, or the one file that `path` is.

    Raises:
        InputError: if there is no such file or folder, it cannot be read, or it holds no video.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise VideoError.of(path, unreadable(error)) from error
        mode = 0
    if stat.S_ISREG(mode):
        return Listing(root=path.parent, files=(path,), faults={}, others={})
    if not stat.S_ISDIR(mode):
        raise InputError(f"{shown(path)}: no such folder of videos: give an existing folder")
    found = _Found(path)
    found.walk()
    if "." in found.faults:
        raise found.faults["."]
    if not found.files and not found.faults:
        holds = f"; it holds {describe_others(found.others)}" if found.others else ""
        raise InputError(
            f"{shown(path)}: no videos in this folder: add files that end in .mp4 (or .mov .mkv "
            f".webm .avi .ts and other suffixes of videos){holds}"
        )
    files = tuple(sorted(found.files))
    return Listing(root=path, files=files, faults=found.faults, others=found.others)


def describe_others(others: Mapping[str, int]) -> str:
    """Return "3 files: 2 .txt, 1 hidden"; what is passed over, by kind."""
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(others.items()))
    return f"{counted(sum(others.values()), 'file')}: {kinds}"


class _Found:
    """A walk through a folder: its own folders first, then what is linked."""

    def __init__(self, root: Path):
        self.root = root
        self.files: list[Path] = []
        self.faults: dict[str, VideoError] = {}
        self.others: Counter[str] = Counter()
        self._folders, self._links = deque([root]), deque[Path]()

    def walk(self) -> None:
        """Look into every folder once."""
        seen: set[tuple[int, int]] = set()
        while self._folders or self._links:
            folder = (self._folders or self._links).popleft()
            try:
                status = folder.stat()
                place = status.st_dev, status.st_ino
                names = sorted(os.listdir(folder)) if place not in seen else []
            except OSError as error:
                self._blame(folder, unreadable(error))
                continue
            seen.add(place)
            for name in names:
                self._sort(folder / name)

    def _sort(self, path: Path) -> None:
        suffix = path.suffix.lower()
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if suffix in SUFFIXES:
                lost = error.errno in (errno.ENOENT, errno.ELOOP)
                self._blame(path, _lost_link() if lost else unreadable(error))
            else:
                self.others["unreadable"] += 1
            return
        if path.name.startswith("."):
            self.others["hidden"] += 1
        elif stat.S_ISDIR(mode):
            (self._links if path.is_symlink() else self._folders).append(path)
        elif suffix in SUFFIXES:
            if stat.S_ISREG(mode):
                self.files.append(path)
            else:
                self._blame(path, Fault("not a video", "it is no regular file", REMOVE))
        elif path.parent != self.root or path.name not in OURS:
            self.others[suffix or "without a suffix"] += 1

    def _blame(self, path: Path, fault: Fault) -> None:
        self.faults[path.relative_to(self.root).as_posix()] = VideoError.of(path, fault)


def _lost_link() -> Fault:
    return Fault("missing", "a link to a file that is not there", "restore the file or remove it")
