"""Where a video cuts, from thumbnails of its frames.

With d[i] the mean absolute difference of thumbnails i - 1 and i (levels of 255), frame i starts a
shot if
    d[i] > FLOOR                                      something changed,
    d[i] > RATIO * median(d[i-2], d[i-1], d[i+1], d[i+2])   much more than motion around it, and
    min |a - b| > PERSIST * d[i] over pairs across i        it stays: a flash of two frames doesn't.
Against a neural detector's 130 cuts of an animated film: recall 0.95, precision 0.97. Dissolves and
fades are not looked for: a clip may hold one. This file decodes nothing.
"""

import numpy as np
from jaxtyping import Int, UInt8

FLOOR, RATIO, PERSIST = 10.0, 3.5, 0.5


def find_cuts(thumbnails: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, " cuts"]:
    """Return the indices of the frames that start a new shot, increasing, without 0."""
    frames = thumbnails.astype(np.int16)
    if len(frames) < 2:
        return np.zeros(0, np.int64)
    first = np.arange(1, len(frames))
    change = _difference(frames, first - 1, first)
    padded = np.pad(change, 2, mode="reflect")
    around = [padded[2 + o : 2 + o + len(change)] for o in (-2, -1, 1, 2)]
    sudden = (change > FLOOR) & (change > RATIO * np.median(around, axis=0))
    candidates = first[sudden]
    across = [
        _difference(frames, candidates - before, candidates + after)
        for before, after in ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0))
    ]
    return candidates[np.min(across, axis=0) > PERSIST * change[sudden]]


def find_shots(thumbnails: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, "shots 2"]:
    """Return (first, end) frame indices of each shot; they cover all frames, `end` is exclusive."""
    edges = np.concatenate([[0], find_cuts(thumbnails), [len(thumbnails)]]).astype(np.int64)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _difference(frames: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    last = len(frames) - 1
    pairs = zip(np.clip(first, 0, last), np.clip(second, 0, last), strict=True)
    return np.array([np.abs(frames[a] - frames[b]).mean() for a, b in pairs], np.float64)
