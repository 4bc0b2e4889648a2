"""`vldm evaluate`: figures of samples against real clips, each with its recipe and its floor.

vldm evaluate --real FOLDER --samples FOLDER --out DIR     # anybody's videos
vldm evaluate --workdir RUN --out DIR                      # samples of a trained stage
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vldm_jax.cli.evaluate_flags import add_figures, network_weights, seed
from vldm_jax.cli.evaluate_folders import folder_sets
from vldm_jax.cli.evaluate_run import run_sets
from vldm_jax.cli.flags import Parser, add_config, folder, overrides_of, size
from vldm_jax.cli.run_config import asked_config
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new, check_writable, write_json
from vldm_jax.core.json_files import read_json
from vldm_jax.data.write import write_contact_sheet
from vldm_jax.evals.bars import write_bars
from vldm_jax.evals.clips import WINDOWS
from vldm_jax.evals.compare import Comparison, compare, make_extractors
from vldm_jax.evals.extract import cache_folder
from vldm_jax.evals.figures import DEFAULT
from vldm_jax.evals.likeness import by_likeness
from vldm_jax.evals.presets import PRESETS
from vldm_jax.evals.record import record
from vldm_jax.evals.report import table
from vldm_jax.evals.sets import Sets
from vldm_jax.parallel.compilation import compilations_kept

METRICS, TABLE, BARS, SHEET = "metrics.json", "table.md", "figures.png", "best_and_worst.png"
SHOWN = 4  # clips at each end of the sheet


def run(argv: Sequence[str]) -> None:
    """Parse the flags, evaluate, write."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    overrides = overrides_of(parser, rest)
    _apply_preset(args)
    extractors = make_extractors(args.figures, network_weights(args.network))
    beside = [(path.parent.name or str(path), _read(path)) for path in args.beside]
    check_writable(args.out)
    if (args.out / METRICS).exists():
        check_new(args.out)  # figures are not written over
    with compilations_kept():
        if args.samples is not None:
            if args.real is None or overrides or args.config:
                parser.error("--samples takes --real, and no config: compare two folders of videos")
            sets = folder_sets(args)
        else:
            if args.real is not None:
                parser.error("--real goes with --samples; a run has its config's data")
            sets = run_sets(asked_config(parser, args, overrides), args)
        for note in sets.notes:
            print(note, flush=True)
        result = compare(
            sets.samples, sets.real, sets.others, args.figures,
            extractors=extractors, cache=cache_folder(), seed=args.seed,
        )  # fmt: skip
    metrics = record(sets, result, seed=args.seed, preset=args.preset)
    _write(args.out, metrics, sets, result)
    print(table([(args.name or args.out.name, metrics), *beside]))
    print(f"{args.out}: {METRICS}, {TABLE}, {BARS}, {SHEET}")


def _parser() -> Parser:
    parser = Parser("evaluate", "Figures of samples against real clips, with recipe and floor.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--samples", type=Path, help="folder of generated videos, anybody's")
    what.add_argument("--workdir", type=folder, help="folder that a stage was trained in")
    what.add_argument("--weights", help="weights file of a stage, also asset:NAME, with --config")
    parser.add_argument("--real", type=Path, help="folder of real videos, with --samples")
    add_config(parser, required=False)
    parser.add_argument("--out", type=folder, required=True, help="new folder to write to")
    add_figures(parser, usual=",".join(DEFAULT))
    parser.add_argument("--preset", choices=sorted(PRESETS), help="a protocol that people quote")
    parser.add_argument("--clips", type=_positive, help="in each set; real clips are taken twice")
    parser.add_argument("--frames", type=_positive, help="of a clip, 16; a run's own")
    parser.add_argument("--fps", type=float, help="of a clip; the samples' own")
    parser.add_argument("--size", type=size, metavar="HxW", help="of a clip; the samples' own")
    for kind, default in (("real", "all"), ("sample", "first")):
        parser.add_argument(
            f"--{kind}-windows", choices=WINDOWS, default=None if kind == "real" else default,
            help=f"clips of a {kind} video, {default}",
        )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="of all that is drawn")
    parser.add_argument("--name", help="of the samples in the table, the folder's")
    parser.add_argument(
        "--beside", action="append", type=Path, default=[], metavar="METRICS.json",
        help="another evaluation to show in the table, with what it has otherwise",
    )  # fmt: skip
    return parser


def _apply_preset(args: argparse.Namespace) -> None:
    """Fill in what no flag says: from the preset, else the usual."""
    preset = PRESETS[args.preset] if args.preset else None
    usual = {"figures": DEFAULT, "frames": None, "clips": None, "fps": None, "real_windows": "all"}
    for name, value in usual.items():
        if getattr(args, name) is None:
            own = name.removeprefix("real_")
            setattr(args, name, value if preset is None else getattr(preset, own))


def _write(out: Path, metrics: Mapping[str, Any], sets: Sets, result: Comparison) -> None:
    write_bars(out / BARS, metrics["figures"], f"{metrics['recipe']['clips']} clips, {out.name}")
    _write_sheet(out / SHEET, sets, result)
    with atomic_path(out / TABLE) as temporary:
        temporary.write_text(table([(out.name, metrics)]), encoding="utf-8")
    write_json(out / METRICS, metrics)


def _write_sheet(path: Path, sets: Sets, result: Comparison) -> None:
    """Write the samples that are most and least like real clips by the first network's features."""
    name = "i3d" if "i3d" in result.numbers else next(iter(result.numbers))
    samples, real = (rows.reshape(len(rows), -1) for rows in result.numbers[name])
    order, near = by_likeness(samples, real)
    ends = np.concatenate([order[:SHOWN], order[max(SHOWN, len(order) - SHOWN) :]])
    videos = [sets.samples.read(int(i)) for i in ends]
    titles = [f"{sets.samples.describe(int(i))}: {near[i]:.3g} from real clips ({name})"
              for i in ends]  # fmt: skip
    write_contact_sheet(path, videos, titles)


def _read(path: Path) -> dict[str, Any]:
    metrics = read_json(path, "figures that vldm evaluate wrote")
    try:
        table([(path.name, metrics)])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no metrics.json of vldm evaluate: give one") from error
    return metrics


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
