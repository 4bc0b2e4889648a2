"""Clip windows: which frames of a video make one training example.

A window starts at time s inside a shot and takes the frames on screen at s + i / fps, i <
num_frames, by times, so that the requested fps is met whatever the file's own rate is (24 -> 7.5
fps picks frames 0 3 6 9 12 16 ..., and a variable rate is no special case). A window never leaves
its shot and never shows a frame twice, which would teach a model to stutter: where a file is slower
than the requested fps, or stands still, it gives none. Where it is hardly slower (29.97 for 30) its
frames are taken one by one.
"""

import hashlib

import numpy as np
from jaxtyping import Bool, Float, Int

SLOWEST = 0.98  # of the requested fps: 29.97 serves 30
FINEST = 1e-9  # seconds between the starts of two windows


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
        Indices of shape (windows, num_frames), increasing in a window; no two windows start at the
        same frame. No rows if nothing is long or fast enough.
    """
    frames = np.arange(num_frames)
    found = [np.zeros((0, num_frames), np.int64)]
    for first, end in shots.tolist():
        starts = _starts(times, first, end, step=stride / fps, fps=fps, num_frames=num_frames)
        wanted = starts[:, None] + frames / fps
        windows = np.minimum(on_screen(times, wanted.ravel()), end - 1).reshape(wanted.shape)
        one_by_one = windows[:, :1] + frames
        repeats = (np.diff(windows, axis=1) < 1).any(axis=1)
        windows[repeats] = one_by_one[repeats]
        windows = windows[~repeats | _keep_pace(times, one_by_one, end, fps)]
        windows = windows[_is_fast(times, windows, fps)]
        found.append(windows[np.unique(windows[:, 0], return_index=True)[1]])
    return np.concatenate(found)


def even_runs(
    times: Float[np.ndarray, " n"], first: int, end: int, *, fps: int | float
) -> list[Int[np.ndarray, " t"]]:
    """Return the frames of a shot that are on screen every 1 / fps seconds, without repeats.

    Args:
        times: seconds of the video's frames.
        first: of the shot.
        end: of the shot, exclusive.
        fps: frames per second.

    Returns:
        Increasing indices; where a frame would come twice one run ends, and the next begins.
    """
    still = np.flatnonzero(np.diff(times[first:end]) > 2 / fps) + 1  # some frame comes twice
    runs = []
    for shown in np.split(np.arange(first, end), still):
        since = times[shown] - times[shown[0]]
        count = int(since[-1] * fps + 1e-3) + 1
        wanted = times[shown[0]] + np.arange(count) / fps
        frames = np.minimum(on_screen(times, wanted), shown[-1])
        runs += np.split(frames, np.flatnonzero(np.diff(frames) < 1) + 1)
    return runs


SPLITS = ("train", "test")  # the shots that are not held out, and those that are


def held_out(name: str, shot: int, fraction: int | float) -> bool:
    """Return whether a shot belongs to the held-out part: by a hash, so new files move no old one.

    Args:
        name: the file's path inside its folder.
        shot: number of the shot in the file.
        fraction: of the shots to hold out, in [0, 1].
    """
    digest = hashlib.sha256(f"{name}#{shot}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:4], "big") < fraction * 2**32


def _starts(
    times: Float[np.ndarray, " n"],
    first: int,
    end: int,
    *,
    step: float,
    fps: int | float,
    num_frames: int,
) -> Float[np.ndarray, " k"]:
    """Times in a shot, multiples of `step` after its start, after which enough frames are left.

    Of those at which the same frame is on screen the first, so that there are never more than
    frames, however small the step is.
    """
    since, tolerance = times[first:end] - times[first], _tolerance(times)
    step, length = max(step, FINEST), (num_frames - 1) / fps
    gone = np.append(since[1:] - tolerance, np.inf)  # when the next frame is on screen
    spare = since[-1] - length
    latest = max(spare, 0) + 1e-6 * step if spare >= -tolerance else -np.inf
    starts = step * np.ceil(since / step - 1e-6)
    early = step * np.ceil((since - tolerance) / step - 1e-6)
    starts = np.where((starts < gone) & (starts <= latest), starts, early)
    in_time = (starts < gone) & (starts <= latest)
    until = np.searchsorted(since, starts + length / SLOWEST + tolerance, side="right")
    return times[first] + starts[in_time & (until - np.arange(end - first) >= num_frames)]


def _keep_pace(
    times: Float[np.ndarray, " n"], windows: Int[np.ndarray, "k t"], end: int, fps: int | float
) -> Bool[np.ndarray, " k"]:
    """Whether the frames of each window lie before `end`, evenly, and hardly off 1 / fps apart."""
    count = windows.shape[1]
    since = times[np.minimum(windows, end - 1)] - times[windows[:, :1]]
    step = since[:, -1:] / max(count - 1, 1)
    off = np.abs(since - step * np.arange(count)).max(axis=1, initial=0)
    step = step[:, 0]
    return (windows[:, -1] < end) & (off < step / 2) & (step * fps >= SLOWEST)


def _is_fast(
    times: Float[np.ndarray, " n"], windows: Int[np.ndarray, "k t"], fps: int | float
) -> Bool[np.ndarray, " k"]:
    """Whether the video runs at `fps` or hardly slower in each window; one frame always does."""
    first, last = windows[:, 0], windows[:, -1]
    seconds = times[last] - times[first] - _tolerance(times)
    return seconds * SLOWEST * fps <= last - first


def _tolerance(times: np.ndarray) -> float:
    return 0.1 * float(np.quantile(np.diff(times), 0.1)) if len(times) > 1 else 0.0
