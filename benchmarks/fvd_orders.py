"""What FVD makes of real clips to which something was done, beside its floor.

    python benchmarks/fvd_orders.py [--clips 32] [--plot docs/images/fvd_orders.png]

Clips of 16 frames at 15 fps and 64x128 from the shipped set: one half is what is compared with, the
other half, of other videos, is frozen (the first frame stays), shuffled in time, blurred (a mean of
9 pixels, 2 apart) or made noisy (deviation 40 of 255). "other" is that half as it is: the floor.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from plots import write_bars

from vldm_jax.core.assets import resolve
from vldm_jax.evals.clips import array_clips, folder_clips
from vldm_jax.evals.extract import extract
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.frechet import frechet_distance
from vldm_jax.evals.halves import real_halves
from vldm_jax.evals.kernel import kernel_distance

FRAMES, SIZE, FPS, NOISE = 16, (64, 128), 15.0, 40.0


def measure(count: int) -> dict[str, tuple[float, float]]:
    """Return {what was done: (FVD, KVD)} of `count` clips against `count` others."""
    with tempfile.TemporaryDirectory() as folder:
        clips = folder_clips(
            resolve("asset:driving/clips"), shape=(FRAMES, *SIZE), fps=FPS, windows="all", seed=0,
            index=Path(folder) / "scan.json",
        )  # fmt: skip
    real, other = (np.stack(list(half)) for half in real_halves(clips).sets(count))
    random = np.random.default_rng(0)
    places = [(y, x) for y in (-2, 0, 2) for x in (-2, 0, 2)]
    blurred = sum(np.roll(np.float32(other), place, (2, 3)) for place in places) / len(places)
    noisy = np.clip(other + random.normal(0, NOISE, other.shape), 0, 255)
    sets = {
        "other": other,
        "frozen": np.repeat(other[:, :1], FRAMES, axis=1),
        "shuffled": np.stack([clip[random.permutation(FRAMES)] for clip in other]),
        "blurred": np.uint8(blurred),
        "noisy": np.uint8(noisy),
    }
    i3d = make_extractor("i3d")

    def numbers(videos: np.ndarray) -> np.ndarray:
        return extract(i3d, array_clips(videos, FPS), cache=None).rows[:, 0]

    against = numbers(real)
    found = {name: numbers(videos) for name, videos in sets.items()}
    return {
        name: (frechet_distance(rows, against), kernel_distance(rows, against))
        for name, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--plot", type=Path, help="PNG to write")
    args = parser.parse_args()
    found = measure(args.clips)
    print(f"| {args.clips} clips | FVD | KVD |\n|---|---|---|")
    for name, (fvd, kvd) in found.items():
        print(f"| {name} | {fvd:.0f} | {kvd:.0f} |")
    if args.plot:
        title = f"FVD of {args.clips} real clips to which something was done, against others"
        write_bars(args.plot, {name: fvd for name, (fvd, _) in found.items()}, title=title)


if __name__ == "__main__":
    main()
