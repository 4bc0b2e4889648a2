"""`vldm sample` of a stack: a long video from labels, an image or a video."""

import argparse
import os
from pathlib import Path

from ml_collections import ConfigDict

from vldm_jax.checkpoint.weights import WEIGHTS
from vldm_jax.cli.flags import Parser, load_config
from vldm_jax.cli.run_config import has_config, run_config
from vldm_jax.config.stack import part, stack_config
from vldm_jax.config.table import check_keys
from vldm_jax.core.assets import SCHEME
from vldm_jax.core.errors import InputError, naming
from vldm_jax.stack.boxes import parse_boxes
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.plan import Part, StackPlan
from vldm_jax.stack.request import Request, parse_labels, read_context
from vldm_jax.stack.run import run_stack

FLAGS = ("seconds", "labels", "boxes", "context", "crop", "futures", "stages", "preview", "resume")


def add_stack(parser: Parser) -> None:
    """Add the flags of a stack."""
    of = parser.add_argument_group("a stack of models (a config with parts)")
    of.add_argument("--seconds", type=float, help="length of the video")
    of.add_argument("--labels", metavar="NAME=VALUE,...", help="what it shows: night=1,cars=4")
    of.add_argument("--boxes", metavar="X0,Y0,X1,Y1;...", help="where its first frame has cars")
    of.add_argument("--context", metavar="FILE", help="image or video that it begins with")
    of.add_argument("--crop", action="store_true", help="cut the context to the model's aspect")
    of.add_argument("--futures", type=int, help="videos from the same first frame")
    of.add_argument("--stages", metavar="NAME,...", help="run the parts up to the last named")
    of.add_argument("--preview", action="store_true", help="write the key frames before the rest")
    of.add_argument("--resume", action="store_true", help="go on with a video; there must be one")


def is_stack(config: ConfigDict) -> bool:
    """Return whether a config is a stack's."""
    return "parts" in config


def refuse_flags(parser: Parser, args: argparse.Namespace) -> None:
    """Raise for a flag that only a stack has.

    Raises:
        InputError: naming it.
    """
    for name in FLAGS:
        if getattr(args, name) not in (None, False):
            parser.error(f"--{name} is for a stack of models, --config configs/driving/stack.py")


def sample_stack(parser: Parser, args: argparse.Namespace, config: ConfigDict) -> None:
    """Write the videos that the flags and a stack's config ask for.

    Raises:
        InputError: for anything that does not fit; before any slow work where it can be known.
    """
    if args.num is not None:
        parser.error("--num is of a stage; a stack makes --futures of one beginning")
    seconds = config.seconds if args.seconds is None else args.seconds
    plan = make_stack_plan(parts_of_stack(args.config, config), seconds)
    if args.resume and not (args.out / "metadata.json").exists():
        parser.error(f"--resume: {args.out} holds no video that was begun; leave it out")
    until = args.stages and _last(args.stages, plan)
    run_stack(plan, _request(args, config, plan), args.out, until=until, preview=args.preview)


def parts_of_stack(file: str, config: ConfigDict) -> list[Part]:
    """Return the parts that a stack's config has weights for, in its order.

    Args:
        file: FILE.py[:VARIANT] that the config is of; configs of parts lie beside it.
        config: the stack's.

    Raises:
        InputError: for unknown keys, or a config of a part that cannot be read.
    """
    check_keys(config, stack_config(), "")
    here = Path(file.partition(":")[0]).parent
    for name, fields in config.parts.items():
        check_keys(fields, part("", "", ""), f"parts.{name}")
    return [_part(name, fields, here) for name, fields in config.parts.items() if fields.weights]


def _part(name: str, fields: ConfigDict, here: Path) -> Part:
    words = [f"--config.{word.removeprefix('--config.')}" for word in fields.overrides]
    weights, run = fields.weights, None
    if not weights.startswith(SCHEME) and Path(weights).is_dir():
        run, weights = Path(weights), str(Path(weights) / WEIGHTS)
    if type(fields.rounds) is not int or fields.rounds < 1:
        raise InputError(f"config.parts.{name}.rounds={fields.rounds!r} must be at least 1")
    with naming(f"config.parts.{name}"):
        if run is not None and has_config(run):  # it knows what it stands on
            config = run_config(run, words)
        else:
            file = fields.config if os.path.isabs(fields.config) else str(here / fields.config)
            config = load_config(file, words)
    return Part(name=name, kind=fields.kind, config=config, weights=weights, rounds=fields.rounds)


def _last(stages: str, plan: StackPlan) -> str:
    """Return the last of the parts that are to run, which must be the first ones.

    Raises:
        InputError: if they are not.
    """
    wanted = [word.strip() for word in stages.split(",") if word.strip()]
    known = list(dict.fromkeys(part.model for part in plan.parts))
    begins = [name for name in known if name in wanted]
    if not wanted or wanted != begins or known[known.index(wanted[0]) :][: len(wanted)] != wanted:
        raise InputError(f"--stages {stages!r}: name parts in their order, of {', '.join(known)}")
    return [part.name for part in plan.parts if part.model == wanted[-1]][-1]


def _request(args: argparse.Namespace, config: ConfigDict, plan: StackPlan) -> Request:
    futures = config.futures if args.futures is None else args.futures
    if type(futures) is not int or futures < 1:
        raise InputError(f"--futures {futures}: a whole number of at least 1")
    path, context = args.context or config.context, None
    if path is not None:
        context, line = read_context(path, plan.prediction, crop=args.crop)
        print(line, flush=True)
    elif args.crop:
        raise InputError("--crop cuts what --context gives: give that, or leave it out")
    labels = parse_labels(config.labels if args.labels is None else args.labels)
    boxes = parse_boxes(config.boxes if args.boxes is None else args.boxes)
    return Request(
        labels=(labels,), context=context, futures=futures, seed=config.seed, boxes=boxes
    )
