"""How far samples of a run show what they were asked for, and what other labels would give.

    vldm evaluate --config configs/driving/video.py:tiny --clips 48 --out figures
        --weights asset:driving/temporal.safetensors
        --figures agreement_night,agreement_cars,agreement_cars_order
    python benchmarks/label_agreement.py figures/samples [--pictures DIR]

Reads the samples that `vldm evaluate` keeps, with what they were asked for. "shuffled" is the mean
over 200 permutations of the labels among the clips: what a model gets that does not listen. Then
the cars shown where few, some and many were asked for.
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np

from vldm_jax.data.drawing import draw_boxes
from vldm_jax.data.write import write_contact_sheet
from vldm_jax.evals.agreement import cars_of
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.detect import load_judge
from vldm_jax.evals.extract import extract
from vldm_jax.evals.extractors import make_extractor
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.labels import with_label

NAMES = ("agreement_night", "agreement_cars", "agreement_cars_order")
COLUMN = {"night": 0, "cars": 1}  # of the driving labels
SHUFFLES, SHOWN = 200, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("samples", type=Path, help="folder of .npy files and metadata.json")
    parser.add_argument("--pictures", type=Path, help="folder for a sheet of detections")
    args = parser.parse_args()
    about = json.loads((args.samples / "metadata.json").read_text())
    asked = np.array(about["labels"], np.float32)
    videos = np.concatenate([np.load(file) for file in sorted(args.samples.glob("*.npy"))])
    clips = array_clips(videos, about["fps"])
    rows = extract(make_extractor("detector"), clips, cache=None).rows
    random = np.random.default_rng(0)
    print(f"| {len(videos)} samples | as asked | shuffled |\n|---|---|---|")
    for name in NAMES:
        figure = FIGURES[name]
        labels = asked[:, COLUMN[figure.label]]
        shuffled = [
            figure.of(with_label(rows, random.permutation(labels))) for _ in range(SHUFFLES)
        ]
        print(f"| {name} | {figure.of(with_label(rows, labels)):.3f} | {np.mean(shuffled):.3f} |")
    cars, wanted = cars_of(rows), asked[:, 1]
    for low, high in ((0, 3), (4, 6), (7, 99)):
        of = (wanted >= low) & (wanted <= high)
        if of.any():
            print(
                f"{low} to {high} cars: {wanted[of].mean():.2f} asked, {cars[of].mean():.2f} shown"
            )
    if args.pictures:
        _draw(args.pictures / "samples.png", videos[:SHOWN], asked[:SHOWN], cars)


def _draw(path: Path, videos: np.ndarray, asked: np.ndarray, cars: np.ndarray) -> None:
    judge = load_judge(None)
    detect = jax.jit(judge.detect)
    rows = []
    for video in videos:
        found, _ = jax.tree.map(np.asarray, detect(judge.params, video[::2]))
        sure = found.scores >= judge.module.threshold
        drawn = zip(video[::2], found.boxes, sure, strict=True)
        rows.append(np.stack([draw_boxes(one, b[s], scale=4) for one, b, s in drawn]))
    titles = [
        f"asked: night {night:g}, {many:g} cars; seen: {seen:g} cars"
        for (night, many), seen in zip(asked, cars, strict=False)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_contact_sheet(path, rows, titles)


if __name__ == "__main__":
    main()
