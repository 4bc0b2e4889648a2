"""When each decoded frame is shown, and a name by which it can be found again.

A decoder gives frames in the order of showing. The timestamps on them should increase, but

    AVI, VfW in Matroska    store only the order of decoding: of the frames 1 2 3 4 5 a packed
                            B-frame stream has 1 3 2 5 4. The k-th frame is shown at the k-th time.
    joined recordings       start again: the next part follows `JOIN` seconds after the last, which
                            no clip can bridge without a frame that stands still.
    a repeated timestamp    puts a frame on the screen for no time: the last one there is shown.
    a missing or stray one  lies between its neighbours.

A name is the decoder's own timestamp if that is unique in the file, so that it can be sought;
otherwise `COUNTED` plus the number of frames before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, Int

from vldm_jax.data.faults import Fault

COUNTED = -(1 << 62)
JOIN = 10.0  # seconds between joined parts
REORDERED = 8  # frames that a decoder may keep back: a timestamp further off is no reordering
ABSURD = 1 << 60  # ticks


@dataclass(frozen=True, eq=False, kw_only=True)
class Timeline:
    """The frames of a file that are shown.

    Attributes:
        shown: their numbers among all that were decoded.
        names: what finds each of them again.
        ticks: when each is shown, strictly increasing.
        parts: recordings that were joined; 1 for one.
    """

    shown: Int[np.ndarray, " n"]
    names: Int[np.ndarray, " n"]
    ticks: Int[np.ndarray, " n"]
    parts: int


def timeline(labels: Sequence[int | None], time_base: Fraction) -> Timeline:
    """Return when frames are shown whose decoder gave these timestamps, None where it had none.

    Args:
        labels: in the order in which the frames were decoded; at least one.
        time_base: seconds a tick.

    Raises:
        Fault: if most frames have no timestamp, or all have the same.
    """
    known = np.array([label is not None and abs(label) < ABSURD for label in labels])
    if 2 * known.sum() <= len(labels):
        raise _no_timestamps("most frames have no time")
    raw = np.where(known, np.array([label or 0 for label in labels], object), 0).astype(np.int64)
    replaced = np.append(known[:-1] & known[1:] & (raw[:-1] == raw[1:]), False)
    shown = np.flatnonzero(~replaced)
    raw, known = raw[shown], known[shown]
    if len(shown) == 1 and len(labels) > 1:
        raise _no_timestamps("all frames have the same time")
    usual = _usual_step(raw[known])
    filled = _fill(raw, known & ~_strays(raw, known, REORDERED * usual), usual)
    starts = _starts(filled, REORDERED * usual)
    ticks = _in_order(filled, starts, round(JOIN / time_base))
    last = np.append(np.diff(ticks) > 0, True)  # of those that still share a time
    is_unique = known.all() and len(np.unique(raw)) == len(raw)
    names = raw if is_unique else COUNTED + shown
    return Timeline(shown=shown[last], names=names[last], ticks=ticks[last], parts=len(starts) + 1)


def _usual_step(times: Int[np.ndarray, " n"]) -> int:
    steps = np.diff(times)
    steps = steps[steps > 0]
    return max(1, int(np.median(steps))) if len(steps) else 1


def _strays(
    raw: Int[np.ndarray, " n"], known: Bool[np.ndarray, " n"], far: int
) -> Bool[np.ndarray, " n"]:
    """Which timestamps lie far off between two that belong together."""
    before, here, after = raw[:-2], raw[1:-1], raw[2:]
    off = np.minimum(np.abs(here - before), np.abs(here - after)) > far
    together = (after > before) & (after - before <= far) & known[:-2] & known[2:]
    return np.concatenate([[False], off & together, [False]])[: len(raw)]


def _fill(
    raw: Int[np.ndarray, " n"], good: Bool[np.ndarray, " n"], usual: int
) -> Int[np.ndarray, " n"]:
    """The timestamps, where not good on the line between neighbours, or on from the ends."""
    places, at = np.flatnonzero(good), np.arange(len(raw))
    first, last = places[0], places[-1]
    line: Float[np.ndarray, " n"] = np.interp(at, places, raw[places] - raw[first])
    line += usual * (np.minimum(at - first, 0) + np.maximum(at - last, 0))
    return np.where(good, raw, raw[first] + np.rint(line).astype(np.int64))


def _starts(times: Int[np.ndarray, " n"], far: int) -> Int[np.ndarray, " joins"]:
    """Where a joined part starts: times jump back far, or to what has been shown before."""
    _, first = np.unique(times, return_index=True)
    again = np.full(len(times), True)
    again[first] = False
    steps = np.diff(times, prepend=times[0])
    return np.flatnonzero((steps < 0) & (again | (steps < -far)))


def _in_order(
    times: Int[np.ndarray, " n"], starts: Int[np.ndarray, " joins"], gap: int
) -> Int[np.ndarray, " n"]:
    """The times of each part sorted, each part behind the one before."""
    parts = [np.sort(part) for part in np.split(times, starts)]
    for before, part in zip(parts[:-1], parts[1:], strict=True):
        part += before[-1] + gap - part[0]
    return np.concatenate(parts)


def _no_timestamps(detail: str) -> Fault:
    remedy = "give it times (ffmpeg -r 25 -i FILE -c copy NEW.mp4, with its own rate) or remove it"
    return Fault("no timestamps", detail, remedy)
