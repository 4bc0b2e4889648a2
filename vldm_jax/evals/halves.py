"""Real clips in two halves: one that samples are compared with, one that makes the floor.

Windows of one video are alike. With some of its windows in each half, the floor would be too low,
and no generator could come near it: so the halves have no video in common.
"""

import dataclasses

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.words import counted
from vldm_jax.evals.clips import ClipSet
from vldm_jax.typing import Int

FLOOR = "real clips of other videos"  # as recipes say it
ONE_VIDEO = (
    "all real clips are windows of one video, some in each half: the floor is lower than that of "
    "other videos"
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Real:
    """Real clips as an evaluation takes them.

    Attributes:
        clips: all that there are, in their drawn order.
        one: numbers of those that samples are compared with, in that order.
        other: of those that stand in for samples in the floor; empty without a floor.
        notes: what a person should know of the two, a line each.
    """

    clips: ClipSet
    one: Int[np.ndarray, " n"]
    other: Int[np.ndarray, " k"]
    notes: tuple[str, ...] = ()

    def of_each(
        self, samples: int | None, asked: int | None, by: str = "--clips"
    ) -> tuple[int, str]:
        """Return how many clips each of the sets has, and a line that says why.

        Args:
            samples: that there are; None if as many can be made as are asked for.
            asked: clips asked for in each set; None for as many as there are.
            by: by which flag, for messages.

        Raises:
            InputError: if there are not as many as asked for, or fewer than two.
        """
        floor, real = bool(len(self.other)), self.clips.count
        limit = min(len(self.one), len(self.other)) if floor else len(self.one)
        most = limit if samples is None else min(samples, limit)
        have = counted(real, "real clip")
        have = have if samples is None else f"{counted(samples, 'sample')}, {have}"
        if asked is not None and asked > most:
            needed = "real clips"
            if floor:
                needed = f"twice as many real clips (in two halves of other videos, {limit} in one)"
            raise InputError(
                f"{by} {asked} needs as many samples and {needed}; there are {have}: ask for at "
                f"most {most}, or give more"
            )
        if most < 2:
            raise InputError(
                f"{have} are too few: a figure takes at least 2 samples and "
                f"{'2 real clips in each of two halves' if floor else '2 real clips'}"
            )
        count = asked or most
        unused = real - (2 if floor else 1) * count
        left = {"sample": 0 if samples is None else samples - count, "real clip": unused}
        spare = " and ".join(counted(n, thing) for thing, n in left.items() if n > 0)
        spare = f"; not used: {spare}" if spare else ""
        others = f"{count} others for the floor" if floor else "no floor"
        return count, f"{count} samples against {count} real clips, {others}{spare}"

    def sets(self, count: int) -> tuple[ClipSet, ClipSet | None]:
        """Return so many clips to compare with, and as many for the floor, if there is one."""
        one = self.clips.picked(self.one[:count])
        return one, self.clips.picked(self.other[:count]) if len(self.other) else None


def real_halves(clips: ClipSet, *, floor: bool = True) -> Real:
    """Return real clips, in two halves if there is to be a floor.

    The largest videos are given first, each to the half that has fewer clips so far.

    Args:
        clips: in the order in which they are to be taken.
        floor: whether there is one; else samples are compared with all clips.
    """
    everything = np.arange(clips.count)
    if not floor:
        return Real(clips=clips, one=everything, other=everything[:0])
    of = everything if clips.videos is None else clips.videos
    videos, first, counts = np.unique(of, return_index=True, return_counts=True)
    if len(videos) == 1:
        return Real(clips=clips, one=everything[::2], other=everything[1::2], notes=(ONE_VIDEO,))
    halves: tuple[list[int], list[int]] = [], []
    for place in np.lexsort((first, -counts)):
        fewer = min(halves, key=len)
        fewer += np.flatnonzero(of == videos[place]).tolist()
    one, other = (np.sort(np.array(half, int)) for half in halves)
    return Real(clips=clips, one=one, other=other)
