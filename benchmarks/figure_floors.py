"""What figures say of real clips against other real clips, by the number of clips; and their cost.

    python benchmarks/figure_floors.py [--plot docs/images/floors.png]

Clips of 16 frames at 30 fps and 64x128, all 448 windows of the shipped set, drawn eight times into
two sets that have no video in common. A figure without bias would be 0 on average. Seconds a clip
are of this machine, the network's compilation apart.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from plots import write_lines

from vldm_jax.core.assets import resolve
from vldm_jax.evals.clips import ClipSet, folder_clips
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.frechet import frechet_distance
from vldm_jax.evals.halves import real_halves
from vldm_jax.evals.kernel import kernel_distance

FRAMES, SIZE, FPS = 16, (64, 128), 30.0
COUNTS, PAIRS = (8, 16, 32, 64, 128, 224), 8
FIGURES = {
    "fvd": ("i3d", frechet_distance),
    "kvd": ("i3d", kernel_distance),
    "frechet_lite0": ("efficientnet_lite0", frechet_distance),
}


def read_clips(folder: str) -> ClipSet:
    """Return all windows of the shipped clips."""
    return folder_clips(
        resolve("asset:driving/clips"), shape=(FRAMES, *SIZE), fps=FPS, windows="all", seed=0,
        index=Path(folder) / "scan.json",
    )  # fmt: skip


def numbers(extractor: Extractor, clips: ClipSet) -> tuple[np.ndarray, float]:
    """Return the numbers (n rows d) of all clips, and the seconds that one takes."""
    batches = np.array_split(np.arange(clips.count), clips.count // extractor.batch)
    read = [np.stack([clips.read(int(i)) for i in batch]) for batch in batches]
    extractor.compute(read[0])
    begun = time.monotonic()
    rows = np.concatenate([extractor.compute(batch) for batch in read])
    return rows, (time.monotonic() - begun) / clips.count


def floors(rows: np.ndarray, clips: ClipSet, distance) -> dict[int, list[float]]:
    """Return {number of clips: distances of sets of as many, of different videos}."""
    found: dict[int, list[float]] = {}
    for count in COUNTS:
        for draw in range(PAIRS):
            order = np.random.default_rng((count, draw)).permutation(len(rows))
            halves = real_halves(clips.picked(order))
            one, two = (
                rows[order[half[:count]]].reshape(-1, rows.shape[-1])
                for half in (halves.one, halves.other)
            )
            found.setdefault(count, []).append(float(distance(one, two)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--plot", type=Path, help="PNG to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = read_clips(folder)
        names = dict.fromkeys(extractor for extractor, _ in FIGURES.values())
        rows = {name: numbers(make_extractor(name), clips) for name in names}
    lines = {name: floors(rows[of][0], clips, distance) for name, (of, distance) in FIGURES.items()}
    print(f"| clips | {' | '.join(FIGURES)} |\n{'|---' * (len(FIGURES) + 1)}|")
    for count in COUNTS:
        cells = [
            f"{np.mean(line[count]):.1f} ({min(line[count]):.1f} to {max(line[count]):.1f})"
            for line in lines.values()
        ]
        print(f"| {count} | {' | '.join(cells)} |")
    for name, (_, seconds) in rows.items():
        print(f"{name}: {seconds:.3f} s a clip of {FRAMES} frames")
    if args.plot:
        title = "Real clips against other real clips: what a figure says of nothing"
        write_lines(args.plot, lines, title=title, across="clips in each set")


if __name__ == "__main__":
    main()
