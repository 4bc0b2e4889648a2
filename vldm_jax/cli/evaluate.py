"""`vldm evaluate`: figures of samples against real clips, each with its recipe and its floor.

vldm evaluate --real FOLDER --samples FOLDER --out DIR     # anybody's videos
vldm evaluate --workdir RUN --out DIR                      # samples of a trained stage
vldm evaluate --config STACK.py --real FOLDER --out DIR    # videos of a stack
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vldm_jax.cli.evaluate_flags import network_weights
from vldm_jax.cli.evaluate_folders import folder_sets
from vldm_jax.cli.evaluate_parser import apply_preset, given_by, parser
from vldm_jax.cli.evaluate_run import run_sets
from vldm_jax.cli.evaluate_stack import stack_sets
from vldm_jax.cli.flags import Parser, load_config, overrides_of
from vldm_jax.cli.run_config import asked_config
from vldm_jax.cli.stack import is_stack
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new, check_writable, write_json
from vldm_jax.core.json_files import read_json
from vldm_jax.evals.bars import write_bars
from vldm_jax.evals.checks import check_count, check_figures, settings_of
from vldm_jax.evals.companions import BOXES, REFERENCE
from vldm_jax.evals.compare import Comparison, compare, make_extractors
from vldm_jax.evals.ends import write_ends
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.given import Given
from vldm_jax.evals.kept_numbers import cache_folder
from vldm_jax.evals.record import record
from vldm_jax.evals.report import table
from vldm_jax.evals.sets import Sets
from vldm_jax.parallel.compilation import compilations_kept
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.samples import has

METRICS, TABLE, BARS, SHEET = "metrics.json", "table.md", "figures.png", "best_and_worst.png"


def run(argv: Sequence[str]) -> None:
    """Parse the flags, evaluate, write."""
    flags = parser()
    args, rest = flags.parse_known_args(argv)
    overrides = overrides_of(flags, rest)
    apply_preset(args)
    check_figures(args.figures)
    if args.clips is not None:
        check_count(args.figures, args.clips, args.asked["clips"])
    given, weights = given_by(args), network_weights(args.network)
    extractors = make_extractors(args.figures, weights)
    beside = [_named(path) for path in args.beside]
    check_writable(args.out)
    if (args.out / METRICS).exists():
        check_new(args.out)  # figures are not written over
    with compilations_kept():
        sets = _sets(flags, args, overrides, given)
        for note in sets.notes:
            print(note, flush=True)
        result = compare(
            sets.compared, args.figures, extractors=extractors, cache=cache_folder(),
            seed=args.seed, given=given,
        )  # fmt: skip
    name = args.name or args.out.resolve().name
    metrics = {"name": name, **record(sets, result, seed=args.seed, preset=args.preset)}
    for note in metrics["notes"][len(sets.notes) :]:
        print(note)
    _write(args.out, metrics, sets, result)
    print(table([(name, metrics), *beside]))
    print(f"{args.out}: {METRICS}, {TABLE}, {BARS}, {SHEET}")


def _sets(flags: Parser, args: argparse.Namespace, overrides: Sequence[str], given: Given) -> Sets:
    """Return what is compared; an error of what a preset asks for names the preset."""
    try:
        return _own_sets(flags, args, overrides, given)
    except InputError as error:
        if not args.by_preset or "--preset" in str(error):
            raise
        asks = f"--preset {args.preset} asks for {args.by_preset}"
        raise InputError(f"{error} ({asks}, where no flag says otherwise)") from error


def _own_sets(
    flags: Parser, args: argparse.Namespace, overrides: Sequence[str], given: Given
) -> Sets:
    """Return what is compared: two folders, or a run and its data."""
    if args.samples is not None:
        if overrides or args.config:
            flags.error("--samples takes --real, and no config: compare two folders of videos")
        _check_folders(args)
        return folder_sets(args, given)
    if args.config is not None and args.samples is None and is_stack(load_config(args.config)):
        return _stack_sets(flags, args, overrides, given)
    if args.real is not None:
        flags.error("--real goes with --samples or a stack; a run has its config's data")
    if args.no_floor:
        flags.error("--no-floor goes with --samples: a run's data has clips enough for a floor")
    if not (args.workdir or args.weights):
        flags.error("one of --samples, --workdir and --weights is required, or --config of a stack")
    config = asked_config(flags, args, overrides)
    stage = make_plan(config).stage
    for name in args.figures:
        if (kind := FIGURES[name].beside) and kind not in has(stage):
            if kind == BOXES:
                flags.error(f"{name} is of samples that were asked for boxes, as the data has them")
            ends = kind == REFERENCE and "given" in config.sampling
            more = ", or samples both ends of clips, config.sampling.given" * ends
            flags.error(
                f"{name} takes a {kind} for each clip: give folders, --samples and --real{more}"
            )
    data = config.data
    settings_of(args.figures, given, None, (data.num_frames, data.height, data.width))
    return run_sets(stage, args)


def _stack_sets(
    flags: Parser, args: argparse.Namespace, overrides: Sequence[str], given: Given
) -> Sets:
    if args.workdir or args.weights:
        flags.error("a stack names the weights of its parts: config.parts.NAME.weights")
    if args.real is None:
        flags.error("a stack is compared with a folder of videos, --real FOLDER")
    if beside := [name for name in args.figures if FIGURES[name].beside]:
        flags.error(f"{beside[0]} takes something beside each clip, which a stack's have not")
    _check_folders(args)
    return stack_sets(args, load_config(args.config, overrides), given)


def _check_folders(args: argparse.Namespace) -> None:
    """Raise if a folder is not there, or is the one that is written to."""
    for path in filter(None, (args.real, args.samples)):
        if not path.exists():
            raise InputError(f"{path}: no such folder of videos; give an existing one")
        if path.resolve() == args.out.resolve():
            raise InputError(
                f"--out {args.out} is a folder of videos that are compared: figures and pictures "
                "would lie among them; give another one"
            )


def _write(out: Path, metrics: Mapping[str, Any], sets: Sets, result: Comparison) -> None:
    write_bars(
        out / BARS, metrics["figures"], f"{metrics['recipe']['clips']} clips, {metrics['name']}"
    )
    write_ends(out / SHEET, sets, result)
    with atomic_path(out / TABLE) as temporary:
        temporary.write_text(table([(metrics["name"], metrics)]), encoding="utf-8")
    write_json(out / METRICS, metrics)


def _named(path: Path) -> tuple[str, dict[str, Any]]:
    """Return an evaluation with its name, or, before it was written, its folder's."""
    metrics = _read(path)
    name = metrics["name"] if "name" in metrics else path.resolve().parent.name
    return str(name), metrics


def _read(path: Path) -> dict[str, Any]:
    metrics = read_json(path, "figures that vldm evaluate wrote")
    try:
        table([(path.name, metrics)])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no metrics.json of vldm evaluate: give one") from error
    return metrics
