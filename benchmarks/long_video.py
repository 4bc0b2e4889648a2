"""Whether the end of a long video is still a video of its world: colour, sharpness, motion, seams.

    python benchmarks/long_video.py out/0000.mp4 --real FOLDER --every 16

The last ten seconds, in windows of 16 frames, against windows of real videos at the same rate and
size (larger ones are resized). Of every window the means of lightness, red, yellow, contrast and
sharpness (`evals/drift.py`) and the motion of block matching; "within" is the share of the video's
windows between the 5th and 95th percentile of the real ones, of which 90 of 100 are. Seams are the
frames whose number is a multiple of --every: 16 where key frames lie, if there are two rounds of
interpolation. Beside the last seconds stand the first ones: a drift is a difference of the two.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vldm_jax.data.folder import read_folder
from vldm_jax.data.source import decode_clip, folder_source
from vldm_jax.evals.drift import NAMES, frame_figures
from vldm_jax.evals.motion import ROWS, motion_rows
from vldm_jax.evals.networks.flow_weights import load_flow_weights
from vldm_jax.evals.seams import seam_ratio_in_time

FRAMES = 16  # of a window
MOVED, SEEN = (ROWS.index(name) for name in ("moved", "seen"))


def row_of(window: np.ndarray) -> np.ndarray:
    """Return the figures of a window: those of `NAMES`, then its motion in pixels a frame."""
    moved = motion_rows(window[None])[0]
    return np.append(frame_figures(window).mean(axis=0), moved[MOVED] / max(moved[SEEN], 1.0))


def windows_of(video: np.ndarray) -> Iterator[np.ndarray]:
    """Yield windows of a video that do not overlap."""
    for start in range(0, len(video) - FRAMES + 1, FRAMES):
        yield video[start : start + FRAMES]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", type=Path, help="mp4 of a stack")
    parser.add_argument("--real", type=Path, required=True, help="folder of real videos")
    parser.add_argument("--every", type=int, default=16, help="frames between seams")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each end")
    args = parser.parse_args()
    entry = read_folder(args.video, cuts=False).entries[0]
    fps, total = entry.video.fps, len(entry.video.times)
    height, width = entry.video.height, entry.video.width
    count = round(args.seconds * fps)
    if total < 2 * count:
        parser.error(f"{args.video} has {total / fps:.1f} s: give one of at least twice --seconds")
    real = folder_source(
        args.real, height=height, width=width, fps=fps, num_frames=FRAMES, stride=FRAMES
    )
    rows = {"real": np.stack([row_of(real[i]["video"]) for i in range(len(real))])}
    ends = {"first": np.arange(count), "last": np.arange(total - count, total)}
    clips = {name: decode_clip(entry, frames, height, width) for name, frames in ends.items()}
    rows |= {name: np.stack([*map(row_of, windows_of(clip))]) for name, clip in clips.items()}
    low, high = np.percentile(rows["real"], (5, 95), axis=0)
    print(f"{args.video}: {total / fps:.1f} s at {fps:g} fps, {height}x{width}")
    print(f"{len(real)} real windows\n\n| | real, 5 to 95 % | first | last | last within |")
    print("|---|---|---|---|---|")
    for i, name in enumerate((*NAMES, "motion")):
        last = rows["last"][:, i]
        within = np.mean((last >= low[i]) & (last <= high[i]))
        first = rows["first"][:, i].mean()
        print(
            f"| {name} | {low[i]:.3g} to {high[i]:.3g} | {first:.3g} | {last.mean():.3g} | "
            f"{within:.0%} |"
        )
    print(
        f"\nmotion, last over real: {rows['last'][:, -1].mean() / rows['real'][:, -1].mean():.2f}"
    )
    params = load_flow_weights(None)
    for name, clip in clips.items():
        borders = [i for i, frame in enumerate(ends[name]) if i and frame % args.every == 0]
        ratio = seam_ratio_in_time(params, clip[None], borders)
        print(f"warp error at seams over inside, {name} seconds: {ratio:.2f}")


if __name__ == "__main__":
    main()
