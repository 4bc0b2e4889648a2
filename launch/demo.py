"""`make demo`: temporal layers trained from zero in minutes, and what they do to the same noise.

    1. train temporal layers on the shipped driving clips, the shipped image model frozen
    2. from the same noise: independent frames (mix = 1, the image model), the layers just trained,
       and the shipped layers, which were trained for longer
    3. side by side as mp4, GIF and contact sheet; FVD, flicker and motion with their floors: what
       as many other real clips have, compared with the same ones
    4. six seconds by the stack, on what ships: first frame, key frames, frames between

Run from the repository's root: python launch/demo.py --out demo [--minutes 5]
"""

import argparse
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
from vldm_jax.cli.sample import run as sample
from vldm_jax.cli.train import train
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import write_json
from vldm_jax.data.side_by_side import side_by_side, write_side_by_side
from vldm_jax.data.write import write_contact_sheet, write_gif
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.evals.kept_numbers import cache_folder
from vldm_jax.evals.report import number
from vldm_jax.stages.samples import RealClips, real_clips
from vldm_jax.stages.table import make_stage

CONFIG = "configs/driving/video.py:tiny"
FIGURES = ("fvd", "flicker", "motion")
SHIPPED = "asset:driving/temporal.safetensors"
STACK = "configs/driving/stack.py:tiny"
DRIVE = ("--seconds=6", "--labels=night=0,cars=4")  # what the stack is asked for
CLIPS = 24  # of each set, for the figures
SHOWN = 6  # of them, in the pictures
FLOOR = "real clips: the floor"
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
            f"--config.sampling.num_videos={SHOWN}",
            f"--config.sampling.batch_size={SHOWN}",
        ],
    )
    run = args.out / "run"
    shutil.rmtree(run, ignore_errors=True)  # an earlier demo's: the figures are of one training
    state = train(config, run)
    real = real_clips(make_stage(config), clips=CLIPS, seed=0)
    sets = sample_all(config, run, real)
    write_pictures(args.out, {title: videos[:SHOWN] for title, videos in sets.items()}, config)
    figures = measure(real, sets)
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
    drive = args.out / "drive"
    shutil.rmtree(drive, ignore_errors=True)  # an earlier demo's
    sample([f"--config={STACK}", *DRIVE, f"--out={drive}"])


def sample_all(config: ConfigDict, run: Path, real: RealClips) -> dict[str, np.ndarray]:
    """Return {title: videos (b t h w 3)}, all from the same noise and the labels of real clips."""
    stage = make_stage(config)
    asked, count = real.asked(stage)
    sampler, key, index = stage.sampler(), jax.random.key(config.seed), np.arange(count)
    size = config.sampling.batch_size

    def draw(weights: str, *, image_only: bool) -> np.ndarray:
        params, _ = stage.load(weights)
        cond = {**asked, "image_only": np.full(count, image_only)}
        return np.concatenate(list(sampler.in_batches(params, key, index, cond, size)))

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


def measure(real: RealClips, sets: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return {title: {figure: value}} of every set, and of other real clips: the floor."""
    extractors, names = {}, []
    for name in FIGURES:
        try:
            extractors |= make_extractors((name,), {})
        except InputError as error:  # the demo does not need what others may have to install
            print(f"without {name}: {error}")
            continue
        names.append(name)
    figures: dict[str, dict[str, float]] = {}
    for title, videos in sets.items():
        compared = real.sets(array_clips(videos, real.real.fps), {}).compared
        found = compare(compared, names, extractors=extractors, cache=cache_folder(), seed=0)
        figures[FLOOR] = {name: found.figures[name]["floor"] for name in names}
        figures[title] = {name: found.figures[name]["value"] for name in names}
    return figures


def losses(path: Path) -> list[float]:
    """Return the first and the last recorded loss."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [records[0]["loss"], records[-1]["loss"]]


def report(out: Path, figures: dict) -> None:
    """Print what was written and the figures."""
    print(f"\n{'':28}" + "".join(f"{name:>12}" for name in figures[FLOOR]))
    for title in (FLOOR, BEFORE, HERE, LONGER):
        print(f"{title:28}" + "".join(f"{number(v):>12}" for v in figures[title].values()))
    print(f"\n{out}/side_by_side.mp4, side_by_side.gif, contact_sheet.png, metrics.json")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"demo: error: {error}")
