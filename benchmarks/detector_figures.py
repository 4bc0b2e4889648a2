"""How good the driving detector is on clips that it was not trained on.

    python benchmarks/detector_figures.py [--weights FILE] [--pictures DIR]

The shipped 64 clips at 7.5 fps and 64x128, as they are, after the shipped autoencoder's
reconstruction, and blurred (a Gaussian of 1.5 pixels): average precision of boxes at an overlap of
0.5, of all and of those at least 6 pixels high; the mean difference of the cars of a clip from its
label, without its sign and with it; the share of clips whose time of day is right. "the usual" is
what one gets for always saying the same: the clips' median number of cars, and day.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.assets import resolve
from vldm_jax.data.boxes import BoxedSource, boxes_source
from vldm_jax.data.drawing import draw_boxes
from vldm_jax.data.write import write_contact_sheet
from vldm_jax.evals.agreement import cars_of
from vldm_jax.evals.detect import Judge, load_judge
from vldm_jax.evals.precision import average_precision
from vldm_jax.interop import load
from vldm_jax.stages.detector_loss import blur

SIZE, FPS, HIGH = (64, 128), 7.5, 6.0
Change = Callable[[np.ndarray], np.ndarray]


def changes() -> dict[str, Change]:
    """Return what is done to frames (t h w 3) in [0, 255], by name."""
    autoencoder = load("asset:driving/autoencoder.safetensors")

    def on_pixels(function: Callable[[jax.Array], jax.Array]) -> Change:
        def change(frames: np.ndarray) -> np.ndarray:
            x = function(jnp.asarray(frames, jnp.float32) / 127.5 - 1.0)
            return np.asarray(jnp.clip((x + 1.0) * 127.5 + 0.5, 0, 255)).astype(np.uint8)

        return change

    return {
        "as they are": lambda frames: frames,
        "reconstructed": on_pixels(lambda x: autoencoder.decode(autoencoder.encode(x)[0])),
        "blurred": on_pixels(lambda x: blur(x, jnp.full((len(x), 1, 1, 1), 1.5))),
    }


def clips_of_each(source: BoxedSource) -> list[list[int]]:
    """Return the numbers of the frames of each clip."""
    video = source.source.video
    return [np.flatnonzero(video == number).tolist() for number in np.unique(video)]


def measure(
    judge: Judge, source: BoxedSource, change: Change
) -> tuple[dict[str, float], list[np.ndarray]]:
    """Return figures by name, and a picture of some clips: frames with the boxes found."""
    detect = jax.jit(functools.partial(judge.detect, judge.params))
    boxes, scores, true, rows, labels, pictures = [], [], [], [], [], []
    for numbers in clips_of_each(source):
        examples = [source[i] for i in numbers[:28]]  # one shape, one program
        frames = change(np.stack([one["image"] for one in examples]))
        found, attributes = jax.tree.map(np.asarray, detect(frames))
        boxes += list(found.boxes)
        scores += list(found.scores)
        true += [one["boxes"][one["is_box"]] for one in examples]
        sure = found.scores >= judge.module.threshold
        night = attributes[:, judge.attributes.index("night")]
        rows.append(np.stack([sure.sum(1), night], axis=-1))
        labels.append(examples[0]["labels"])
        picks = (0, 9, 18, 27)
        pictures.append(
            np.stack([draw_boxes(frames[i], found.boxes[i][sure[i]], scale=4) for i in picks])
        )
    apart = cars_of(np.stack(rows)) - np.array(labels)[:, 1]
    night = np.stack(rows)[..., 1].mean(1) > 0.5
    figures = {
        "AP": average_precision(boxes, scores, true),
        f"AP, {HIGH:g} pixels": average_precision(*_high(boxes, scores, true)),
        "cars": float(np.abs(apart).mean()),
        "cars, signed": float(apart.mean()),
        "night": float((night == np.array(labels)[:, 0]).mean()),
    }
    return figures, pictures


def _high(boxes: list, scores: list, true: list) -> tuple[list, list, list]:
    """Return the detections and the true boxes that are at least `HIGH` pixels high."""

    def high(rows: np.ndarray) -> np.ndarray:
        return (rows[:, 3] - rows[:, 1]) * SIZE[0] >= HIGH

    return (
        [rows[high(rows)] for rows in boxes],
        [values[high(rows)] for values, rows in zip(scores, boxes, strict=True)],
        [rows[high(rows)] for rows in true],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--weights", help="of a detector; the shipped ones")
    parser.add_argument("--clips", default="asset:driving/clips", help="folder of the simulator")
    parser.add_argument("--pictures", type=Path, help="folder for sheets of detections")
    args = parser.parse_args()
    judge = load_judge(args.weights)
    source = boxes_source(
        resolve(args.clips),
        height=SIZE[0],
        width=SIZE[1],
        fps=FPS,
        num_frames=1,
        cuts=False,
        cache="memory",
    )
    labels = np.array([entry.labels for entry in source.source.entries])
    for row, (name, change) in enumerate(changes().items()):
        figures, pictures = measure(judge, source, change)
        if not row:
            print(f"| frames | {' | '.join(figures)} |\n{'|---' * (len(figures) + 1)}|")
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in figures.values())} |")
        if args.pictures:
            args.pictures.mkdir(parents=True, exist_ok=True)
            titles = [f"night {n:g}, cars {c:g}" for n, c in labels[:8]]
            write_contact_sheet(args.pictures / f"{name}.png", pictures[:8], titles)
    apart, night = np.abs(labels[:, 1] - np.median(labels[:, 1])).mean(), labels[:, 0].mean()
    print(f"| the usual | | | {apart:.3f} | | {max(night, 1 - night):.3f} |")


if __name__ == "__main__":
    main()
