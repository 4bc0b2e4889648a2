"""`make demo`: temporal layers trained from zero in minutes, and what they do to the same noise.

    1. train temporal layers on the shipped driving clips, the shipped image model frozen
    2. from the same noise: independent frames (mix = 1, the image model), the layers just trained,
       and the shipped layers, which were trained for longer
    3. side by side as mp4, GIF and contact sheet; motion and flicker beside real clips' in metrics

Run from the repository's root: python launch/demo.py --out demo [--minutes 5]
"""

import argparse
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.flags import load_config
from vldm_jax.cli.train import train
from vldm_jax.config.data import build_source
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import write_json
from vldm_jax.data.side_by_side import side_by_side, write_side_by_side
from vldm_jax.data.write import write_contact_sheet, write_gif
from vldm_jax.evals.motion import measure_motion
from vldm_jax.stages.table import make_stage

CONFIG = "configs/driving/video.py:tiny"
SHIPPED = "asset:driving/temporal.safetensors"
SAMPLES = 6
REAL = 48  # real clips that the figures are compared with
BEFORE, HERE, LONGER = "before: independent frames", "after: trained here", "after: shipped"


def main() -> None:
    """Train, sample, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--minutes", type=float, default=5.0, help="training time")
    args = parser.parse_args()
    begun = time.monotonic()
    config = load_config(
        CONFIG,
        [
            f"--config.train.stop_after_minutes={args.minutes}",
            "--config.train.sample_every=1000000",
            f"--config.sampling.num_videos={SAMPLES}",
            f"--config.sampling.batch_size={SAMPLES}",
        ],
    )
    run = args.out / "run"
    shutil.rmtree(run, ignore_errors=True)  # an earlier demo's: the figures are of one training
    state = train(config, run)
    sets = sample_all(config, run)
    write_pictures(args.out, sets, config)
    figures = measure(config, sets)
    figures |= {
        "training": {
            "steps": int(state.step),
            "minutes_allowed": args.minutes,
            "loss": losses(run / "metrics.jsonl"),
        },
        "minutes": round((time.monotonic() - begun) / 60, 1),
    }
    write_json(args.out / "metrics.json", figures)
    report(args.out, figures)


def sample_all(config: ConfigDict, run: Path) -> dict[str, np.ndarray]:
    """Return {title: videos (b t h w 3)}, all from the same noise and labels."""
    stage, count = make_stage(config), config.sampling.num_videos
    sampler, key, index = stage.sampler(), jax.random.key(config.seed), np.arange(count)

    def draw(weights: str, *, image_only: bool) -> np.ndarray:
        params, _ = stage.load(weights)
        cond = {**stage.request(count), "image_only": np.full(count, image_only)}
        return np.concatenate(list(sampler.in_batches(params, key, index, cond, count)))

    trained = str(run / WEIGHTS)
    return {
        BEFORE: draw(trained, image_only=True),
        HERE: draw(trained, image_only=False),
        LONGER: draw(SHIPPED, image_only=False),
    }


def write_pictures(out: Path, sets: dict[str, np.ndarray], config: ConfigDict) -> None:
    """Write side_by_side.mp4 and .gif (a column a set, a row a sample) and contact_sheet.png."""
    fps = float(config.data.fps)
    write_side_by_side(out / "side_by_side.mp4", sets, fps)
    write_gif(out / "side_by_side.gif", side_by_side(sets), fps)
    rows = [(f"{i}  {title}", sets[title][i]) for i in range(len(sets[BEFORE])) for title in sets]
    write_contact_sheet(out / "contact_sheet.png", [row for _, row in rows], [t for t, _ in rows])


def measure(config: ConfigDict, sets: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return motion and flicker of every set and of as long real clips."""
    source = build_source(config.data)
    picks = np.linspace(0, len(source) - 1, REAL).round().astype(int)
    real = np.stack([source[i]["video"] for i in picks])
    return {
        title: {name: round(value, 5) for name, value in dataclasses.asdict(m).items()}
        for title, m in ((t, measure_motion(v)) for t, v in ({"real clips": real} | sets).items())
    }


def losses(path: Path) -> list[float]:
    """Return the first and the last recorded loss."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [records[0]["loss"], records[-1]["loss"]]


def report(out: Path, figures: dict) -> None:
    """Print what was written and the figures that matter."""
    print(f"\n{'':28}{'flicker':>10}{'motion (px)':>13}")
    for title in ("real clips", BEFORE, HERE, LONGER):
        print(f"{title:28}{figures[title]['flicker']:10.4f}{figures[title]['motion']:13.2f}")
    print(f"\n{out}/side_by_side.mp4, side_by_side.gif, contact_sheet.png, metrics.json")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"demo: error: {error}")
