"""`vldm compare`: several checkpoints from the same noise and labels, beside each other.

vldm compare RUN_A RUN_B --out DIR                        # workdirs, RUN/best among them
vldm compare RUN A.safetensors --config FILE.py --out DIR    # weights files, with their experiment

Samples are asked for what real clips are (their labels), and all checkpoints are held against the
same real clips, so that the figures in one table have one floor.
"""

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import vldm_jax
from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.compare_names import names_of
from vldm_jax.cli.evaluate_flags import add_figures, network_weights, seed
from vldm_jax.cli.flags import Parser, add_config, folder, load_config, overrides_of, positive
from vldm_jax.cli.run_config import has_config, run_config
from vldm_jax.core.assets import SCHEME
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new, write_json
from vldm_jax.data.side_by_side import write_columns_sheet, write_side_by_side
from vldm_jax.evals.checks import check_alone, check_count, check_figures
from vldm_jax.evals.clips import ClipSet
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.kept_numbers import cache_folder
from vldm_jax.evals.recipe import COMPARED, DIGITS, differences
from vldm_jax.evals.record import record
from vldm_jax.evals.report import table
from vldm_jax.evals.sets import Sets
from vldm_jax.parallel.compilation import compilations_kept
from vldm_jax.stages.base import Stage
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.samples import RealClips, check_lengths, has, kept_samples, real_clips

SAMPLES, VIDEO, SHEET = "samples", "side_by_side.mp4", "contact_sheet.png"
TABLE, METRICS = "table.md", "metrics.json"
USUAL, USUAL_OF_IMAGES = ("fvd", "flicker", "motion"), ("frechet_lite0",)
CLIPS, SHOWN = 32, 4
# Keys that change neither what is learned nor what is sampled.
ASIDE = (
    r"(evals|checkpoint)\.|train\.(log|sample|evaluate)_every|data\.(workers|cache|index)"
    r"|sampling\.(num_videos|batch_size)"
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """One of what is compared.

    Attributes:
        name: in table and pictures.
        weights: their file.
        stage: that samples them.
    """

    name: str
    weights: str
    stage: Stage

    @property
    def config(self) -> ConfigDict:
        """The experiment."""
        return self.stage.config


def run(argv: Sequence[str]) -> None:
    """Parse the flags, sample, evaluate, write."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if len(args.runs) < 2:
        parser.error("give at least two runs or weights files")
    overrides = [*overrides_of(parser, rest), f"--config.seed={args.seed}"]
    sides = [
        _side(parser, name, where, args.config, overrides)
        for name, where in zip(names_of(args.runs), args.runs, strict=True)
    ]
    for other in sides[1:]:
        _check_kind(sides[0], other)
    names, extractors = _figures(args, sides[0].stage)
    for other in sides[1:]:
        _check_pairs(names, sides[0], other)
    check_new(args.out, replaced=(SAMPLES, VIDEO, SHEET, TABLE))
    with compilations_kept():
        for side in sides:  # what is wrong with the last is said before the first is sampled
            side.stage.load(side.weights)
        real = real_clips(sides[0].stage, clips=args.clips, seed=args.seed)
        for side in sides:
            real.check_labels(names, side.stage)
        shown = args.num or min(SHOWN, real.real.count)
        if shown > real.real.count:
            raise InputError(f"--num {shown} is more than the {real.real.count} samples of each")
        for note in real.notes:
            print(note, flush=True)
        sampled = {side.name: _sampled(side, real, args.out) for side in sides}
        found = {
            name: _found(args, real.sets(*one), names, extractors) for name, one in sampled.items()
        }
    clips = {name: samples for name, (samples, _) in sampled.items()}
    captions = sides[0].stage.captions(real.asked(sides[0].stage)[0]) or [""] * shown
    _write_pictures(args.out, clips, captions[:shown])
    text = "\n".join([table(list(found.items())), *_otherwise(sides, found)])
    _write(args.out, sides, found, text)
    print(text)
    print(f"{args.out}: {', '.join(path.name for path in sorted(args.out.iterdir()))}")


def _parser() -> Parser:
    parser = Parser("compare", "Checkpoints beside each other: same noise, labels, real clips.")
    what = "workdir, or weights file (also asset:NAME) with --config; two or more"
    parser.add_argument("runs", nargs="*", metavar="RUN", help=what)
    add_config(parser, required=False)
    parser.add_argument("--out", type=folder, required=True, help="new folder to write to")
    parser.add_argument("--num", type=positive, help=f"samples in the pictures, {SHOWN}")
    parser.add_argument("--seed", type=seed, default=0, help="of noise and all that is drawn")
    add_figures(parser, usual=f"{','.join(USUAL)}, as far as their weights are installed")
    parser.add_argument(
        "--clips", type=positive, default=CLIPS,
        help=f"samples of each; real clips are taken twice; {CLIPS}",
    )  # fmt: skip
    return parser


def _side(
    parser: Parser, name: str, where: str, config: str | None, overrides: Sequence[str]
) -> Side:
    path = Path(where)
    if not where.startswith(SCHEME) and not path.exists():
        raise InputError(f"{where}: no such run or weights file; give a workdir or a file")
    own = path.is_dir() and (config is None or has_config(path))
    if not own and config is None:
        parser.error(f"{where} is a weights file: give --config, the experiment that it is of")
    found = run_config(path, overrides) if own else load_config(str(config), overrides)
    weights = str(path / WEIGHTS) if path.is_dir() else where
    return Side(name=name, weights=weights, stage=make_plan(found).stage)


def _check_kind(one: Side, other: Side) -> None:
    """Raise unless two make clips of one kind.

    Raises:
        InputError: naming both.
    """

    def kind(side: Side) -> str:
        data = side.config.data
        return f"{data.num_frames} frames of {data.height}x{data.width} at {data.fps:g} fps"

    if kind(one) != kind(other):
        raise InputError(
            f"{one.name} makes {kind(one)}, {other.name} {kind(other)}: compare runs of one size, "
            "length and rate"
        )


def _check_pairs(names: Sequence[str], one: Side, other: Side) -> None:
    """Raise for a figure of pairs of two that are not held against the same frames of real clips.

    Raises:
        InputError: naming both.
    """
    pairs = [name for name in names if FIGURES[name].beside]
    if pairs and one.stage.compared != other.stage.compared:
        raise InputError(
            f"{pairs[0]} is of frames {one.stage.compared} of {one.name} and of "
            f"{other.stage.compared} of {other.name}: compare runs that are given the same "
            "(config.sampling.given), or leave it out"
        )


def _figures(args: argparse.Namespace, stage: Stage) -> tuple[Sequence[str], dict[str, Extractor]]:
    """Return the figures with what makes them; of the usual ones, those that can be had."""
    frames = stage.config.data.num_frames
    usual = USUAL if frames > 1 else USUAL_OF_IMAGES
    if args.figures is not None:
        check_figures(args.figures)
    check_count(args.figures or usual, args.clips, asked="--clips")
    if args.figures is not None:
        check_alone(args.figures, has(stage))
        extractors = make_extractors(args.figures, network_weights(args.network))
        check_lengths(args.figures, stage)
        return args.figures, extractors
    names, extractors = [], {}
    for name in usual:
        try:
            extractors |= make_extractors((name,), network_weights(args.network))
        except InputError as error:
            print(f"without {name}: {error}", flush=True)
            continue
        names.append(name)
    check_figures(names)
    return names, extractors


def _sampled(side: Side, real: RealClips, out: Path) -> tuple[ClipSet, dict[str, Any]]:
    params, files = side.stage.load(side.weights)
    folder = out / SAMPLES / side.name[0]
    samples, made_with = kept_samples(side.stage, params, files, real.asked(side.stage), folder)
    meta = files["weights"].meta
    if "steps" not in meta:
        return samples, made_with
    print(f"{side.name}: the weights after step {meta['steps']}", flush=True)
    return samples, made_with | {"step": meta["steps"]}


def _found(
    args: argparse.Namespace, sets: Sets, names: Sequence[str], extractors: dict[str, Extractor]
) -> dict[str, Any]:
    result = compare(
        sets.compared, names, extractors=extractors, cache=cache_folder(), seed=args.seed
    )  # fmt: skip
    return record(sets, result, seed=args.seed)


def _otherwise(sides: Sequence[Side], found: Mapping[str, Any]) -> list[str]:
    """Return lines on what each has otherwise than the first: its weights, and its experiment."""
    first, *others = sides
    lines = []
    for side in others:
        apart = differences(first.config.to_dict(), side.config.to_dict())
        apart = [line for line in apart if not re.match(ASIDE, line)]
        weights = [_weights(found[one.name]["recipe"][COMPARED]) for one in (first, side)]
        same = "the same weights, and " if weights[0] == weights[1] else ""
        apart = [*([] if same else [f"weights: {' and '.join(weights)}"]), *apart]
        what = f"{same}{'otherwise:' if apart else 'nothing otherwise'}"
        lines += [f"{first.name} and {side.name} have {what}", *(f"- {one}" for one in apart)]
    return lines


def _weights(made_with: Mapping[str, Any]) -> str:
    """Return which weights made samples, for a person."""
    name = made_with["weights_sha256"]["weights"][:DIGITS]
    return f"{name} (after step {made_with['step']})" if "step" in made_with else name


def _write_pictures(out: Path, clips: dict[str, ClipSet], captions: Sequence[str]) -> None:
    sets = {
        name: np.stack([samples.read(i) for i in range(len(captions))])
        for name, samples in clips.items()
    }
    first = next(iter(clips.values()))
    if first.shape[0] > 1:
        write_side_by_side(out / VIDEO, sets, first.fps)
    numbered = [f"{number:04}  {text}" for number, text in enumerate(captions)]
    write_columns_sheet(out / SHEET, sets, numbered)


def _write(out: Path, sides: Sequence[Side], found: dict[str, Any], text: str) -> None:
    with atomic_path(out / TABLE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    content = {
        "version": vldm_jax.__version__,
        "recipe_id": next(iter(found.values()))["recipe_id"],
        "otherwise": _otherwise(sides, found),
        "compared": {
            side.name: {"weights": side.weights, **found[side.name]} for side in sides
        },
    }  # fmt: skip
    write_json(out / METRICS, content)
