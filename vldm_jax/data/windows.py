"""Clip windows: which frames of a video make one training example.

A window starts at time s inside a shot and takes the frames on screen at s + i / fps, i <
num_frames, by timestamps, so that the requested fps is met whatever the file's own rate is (24 ->
7.5 fps picks frames 0 3 6 9 12 16 ..., and a variable rate is no special case). A window never
leaves its shot. A file slower than the requested fps would repeat frames, which teaches a model to
stutter: it gives none.
"""

import hashlib

import numpy as np
from jaxtyping import Float, Int

SLOWEST = 0.98  # of the requested fps: 29.97 serves 30


def on_screen(
    times: Float[np.ndarray, " n"], wanted: Float[np.ndarray, " k"]
) -> Int[np.ndarray, " k"]:
    """Return the index of the frame that is shown at each wanted time (seconds).

    A tenth of a frame of tolerance covers containers that round timestamps to milliseconds.
    """
    return np.maximum(np.searchsorted(times, wanted + _tolerance(times), side="right") - 1, 0)


def clip_windows(
    times: Float[np.ndarray, " n"],
    shots: Int[np.ndarray, "shots 2"],
    *,
    fps: int | float,
    num_frames: int,
    stride: int | float,
) -> Int[np.ndarray, "windows t"]:
    """Return the frame indices of every window of a video, shot by shot in time order.

    Args:
        times: seconds of the video's frames, from 0.
        shots: (first, exclusive end) frame indices that no window crosses.
        fps: frames per second of the window; at most the video's own (29.97 serves 30).
        num_frames: frames in a window.
        stride: distance between the starts of two windows, in frames at `fps`: `num_frames` for
            windows that don't overlap, a fraction to start between the frames of the coarse rate.

    Returns:
        Indices of shape (windows, num_frames); no rows if nothing is long or fast enough.
    """
    none = np.zeros((0, num_frames), np.int64)
    if num_frames > 1 and (len(times) < 2 or (len(times) - 1) / times[-1] < SLOWEST * fps):
        return none
    offsets = np.arange(num_frames) / fps
    found = [none]
    for first, end in shots:
        spare = times[end - 1] - times[first] - offsets[-1]
        if spare < -_tolerance(times):
            continue
        count = int(max(spare, 0) * fps / stride + 1e-6) + 1
        starts = times[first] + np.arange(count) * stride / fps
        picked = on_screen(times, (starts[:, None] + offsets[None]).ravel())
        found.append(np.minimum(picked, end - 1).reshape(len(starts), num_frames))
    return np.concatenate(found)


def held_out(name: str, shot: int, fraction: int | float) -> bool:
    """Return whether a shot belongs to the held-out part: by a hash, so new files move no old one.

    Args:
        name: the file's path inside its folder.
        shot: number of the shot in the file.
        fraction: of the shots to hold out, in [0, 1].
    """
    digest = hashlib.sha256(f"{name}#{shot}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < fraction * 2**32


def _tolerance(times: np.ndarray) -> float:
    return 0.1 * float(np.median(np.diff(times))) if len(times) > 1 else 0.0
