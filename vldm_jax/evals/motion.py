"""Flicker and motion: two figures that tell a coherent clip from independent or frozen frames.

Each frame is predicted from the one before by block matching: every block takes the displacement
within `reach` pixels that explains it best. What remains is flicker (content that no motion
explains), the displacements found are the motion. Independent frames have high flicker, frozen
frames have zero motion, a real clip has low flicker at its own motion: compare with real clips of
the same size and frame rate. This is not an optical flow and says nothing about image quality.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8

# Means over a clip's pixels; pixels moved by all of its textured blocks, and the number of those.
ROWS = ("change", "flicker", "moved", "seen")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Motion:
    """Figures of one set of clips.

    Attributes:
        change: mean absolute difference of consecutive frames, in [0, 1].
        flicker: the same after motion compensation, in [0, 1].
        motion: mean length of the displacements, in pixels a frame, over blocks whose texture makes
            a displacement visible; 0.0 where there is none.
    """

    change: float
    flicker: float
    motion: float


def measure_motion(
    videos: UInt8[np.ndarray, "b t h w 3"], block: int = 8, reach: int = 6
) -> Motion:
    """Return the figures of a set of clips.

    Args:
        videos: frames with values in [0, 255]; height and width are cut to multiples of `block`.
        block: side of a block, in pixels.
        reach: largest displacement searched, in pixels.

    Raises:
        ValueError: if there are fewer than two frames or a frame is smaller than a block.
    """
    rows = motion_rows(videos, block, reach)
    change, flicker, motion = (mean_of_rows(rows, name) for name in ("change", "flicker", "motion"))
    return Motion(change=change, flicker=flicker, motion=motion)


def motion_rows(
    videos: UInt8[np.ndarray, "b t h w 3"], block: int = 8, reach: int = 6
) -> Float[np.ndarray, "b 4"]:
    """Return what the figures are means of, a row a clip: see `ROWS`.

    Args:
        videos: as in `measure_motion`.
        block: as there.
        reach: as there.

    Raises:
        ValueError: as there.
    """
    b, t, h, w, _ = videos.shape
    if t < 2 or h < block or w < block:
        raise ValueError(f"needs two frames of at least {block} pixels a side, got {videos.shape}")
    grey = videos.astype(np.float32).mean(axis=-1) / 255.0
    grey = grey[:, :, : h - h % block, : w - w % block]
    before = grey[:, :-1].reshape(-1, *grey.shape[2:])
    after = grey[:, 1:].reshape(-1, *grey.shape[2:])
    errors, shifts = _match(before, after, block, reach)
    best = errors.argmin(axis=0)
    textured = errors.max(axis=0) - errors.min(axis=0) > 0.02
    lengths = np.linalg.norm(shifts, axis=-1)[best]
    change = np.abs(after - before).reshape(b, -1).mean(axis=1)
    flicker = errors.min(axis=0).reshape(b, -1).mean(axis=1)
    seen = textured.reshape(b, -1)
    moved = (lengths * textured).reshape(b, -1).sum(axis=1)
    return np.stack([change, flicker, moved, seen.sum(axis=1)], axis=1).astype(np.float32)


def mean_of_rows(rows: Float[np.ndarray, "b 4"], name: str) -> float:
    """Return a figure of the clips whose rows `motion_rows` made: "change", "flicker", "motion"."""
    if name != "motion":
        return float(rows[:, ROWS.index(name)].mean())
    moved, seen = rows[:, ROWS.index("moved")].sum(), rows[:, ROWS.index("seen")].sum()
    return float(moved / seen) if seen else 0.0


def _match(
    before: Float[np.ndarray, "n h w"], after: Float[np.ndarray, "n h w"], block: int, reach: int
) -> tuple[Float[np.ndarray, "s n rows columns"], Float[np.ndarray, "s 2"]]:
    """Return each block's mean absolute error at every displacement, the smallest ones first."""
    n, h, w = before.shape
    padded = np.pad(before, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    steps = range(-reach, reach + 1)
    # argmin takes the first of equals, so the order makes a flat block stand still.
    shifts = sorted(((dy, dx) for dy in steps for dx in steps), key=lambda s: s[0] ** 2 + s[1] ** 2)
    errors = []
    for dy, dx in shifts:
        moved = padded[:, reach + dy : reach + dy + h, reach + dx : reach + dx + w]
        difference = np.abs(after - moved)
        errors.append(difference.reshape(n, h // block, block, w // block, block).mean(axis=(2, 4)))
    return np.stack(errors), np.asarray(shifts, np.float32)
