"""`vldm convert`: public checkpoints in, exports out.

vldm convert import CHECKPOINT --out DIR [--dtype bfloat16] [--part unet] [--ema]
vldm convert import TEMPORAL.safetensors --onto UNET.safetensors --out DIR
vldm convert export WORKDIR|CHECKPOINT --out DIR [--to diffusers|weights|program] [--onto UNET]
vldm convert export WORKDIR --to program --config configs/driving/video.py:tiny --out DIR
vldm convert export --to program --config configs/driving/stack.py:tiny --out DIR
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vldm_jax.checkpoint.weights import DTYPES, WEIGHTS
from vldm_jax.cli.flags import Parser, load_config, overrides_of, positive, size
from vldm_jax.cli.run_config import run_config
from vldm_jax.cli.stack import is_stack, parts_of_stack
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.export import exports
from vldm_jax.interop.imports import import_checkpoint
from vldm_jax.interop.save import export
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.programs import FRAMES, write_programs
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.program import about, sampler_function
from vldm_jax.stages.table import STAGES

USAGE = "vldm convert: say what to do: import or export"
SIZES = ("size", "frames", "tokens")
HELP_NON_FINITE = "take weights with values that are NaN or infinite"


def run(argv: Sequence[str]) -> None:
    """Find the sub-command and run it."""
    commands = {"import": _import, "export": _export}
    if argv and argv[0] in commands:
        return commands[argv[0]](argv[1:])
    if argv and argv[0] in ("-h", "--help"):
        print(__doc__)
        return None
    raise InputError(USAGE)


def _import(argv: Sequence[str]) -> None:
    parser = Parser("convert import", "Turn a public checkpoint into weights files.")
    parser.add_argument("checkpoint", help="folder or file; docs/interop.md lists the formats")
    parser.add_argument("--out", required=True, help="folder to write, one file a network")
    parser.add_argument("--part", help="of several networks, only this one, e.g. unet")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="cast to it; default: as stored")
    parser.add_argument("--ema", action="store_true", help="the U-Net's average, if there are both")
    help_fields = 'what the file does not tell, e.g. {"heads": 8}'
    parser.add_argument("--fields", type=_json, default={}, metavar="JSON", help=help_fields)
    parser.add_argument("--onto", metavar="UNET", help="for temporal layers: their new backbone")
    help_diffusion = "what the U-Net predicts, where the checkpoint does not say"
    parser.add_argument("--diffusion", choices=("epsilon", "v"), help=help_diffusion)
    parser.add_argument("--non-finite", action="store_true", help=HELP_NON_FINITE)
    args = vars(parser.parse_args(argv))
    for line in import_checkpoint(args.pop("checkpoint"), args.pop("out"), **args):
        print(line)


def _export(argv: Sequence[str]) -> None:
    parser = _export_parser()
    args, rest = parser.parse_known_args(argv)
    sampler = args.config is not None
    if rest and not sampler:
        parser.error(f"unknown argument {rest[0]!r}")
    overrides = overrides_of(parser, rest)
    if sampler and args.to != "program":
        parser.error("--config needs --to program")
    if sampler and (args.raw or args.part or args.onto):
        parser.error("--config takes no --raw, --part or --onto: it names all weights")
    if sampler and args.non_finite:
        parser.error("--config takes no --non-finite: what a sampler stands on must be finite")
    if sampler and is_stack(load_config(args.config)):
        return _export_stack(parser, args, overrides)
    if args.source is None:
        parser.error("say what to export: a workdir, a weights file, or --config of a stack")
    if any(getattr(args, name) is not None for name in SIZES) and (sampler or args.to != "program"):
        parser.error("--size, --frames and --tokens go with --to program without --config")
    if sampler:
        return _export_sampler(args, overrides)
    raw = _raw_tree(args.source) if args.raw else None
    network, notes = exports.find_network(
        args.source, part=args.part, raw=raw, onto=args.onto, non_finite=args.non_finite
    )
    if args.to == "diffusers":
        notes += export(network, args.out, dtype=args.dtype)
    elif args.to == "weights":
        exports.export_weights(network, args.out, args.dtype)
    else:
        defaults = {"size": (64, 64), "frames": 8, "tokens": 77}
        given = {name: getattr(args, name) for name in SIZES if getattr(args, name) is not None}
        exports.export_network(network, args.out, args.dtype, defaults | given)
    for note in notes:
        print(f"note: {note}")
    print(f"{args.out}: {network.kind} as {args.to}")
    return None


def _raw_tree(source: str) -> str:
    """Return the name of what a run's stage exports, in its checkpoints."""
    root = resolve(source)
    if not root.is_dir():
        raise InputError(f"--raw needs a run's workdir, {source} is a file")
    kind = run_config(root).objective.kind
    tree = STAGES[kind].exported if kind in STAGES else None
    if tree is None:
        raise InputError(f"--raw: no stage of kind {kind!r}, of {source}, exports one network")
    return tree


def _export_parser() -> Parser:
    parser = Parser("convert export", "Write a network for other programs.")
    help_source = "workdir of a run, weights file, or a public checkpoint; none for a stack"
    parser.add_argument("source", nargs="?", help=help_source)
    parser.add_argument("--out", required=True, help="folder to write")
    help_to = "class of diffusers or transformers; weights file of this project; compiled program"
    choices = ("diffusers", "weights", "program")
    parser.add_argument("--to", choices=choices, default="diffusers", help=help_to)
    parser.add_argument("--onto", metavar="UNET", help="for temporal layers: their backbone")
    parser.add_argument("--part", help="of several networks, which one")
    parser.add_argument(
        "--dtype", choices=tuple(DTYPES), help="cast to it; default: as stored, a sampler float32"
    )
    help_raw = "of a workdir, the parameters instead of their average"
    parser.add_argument("--raw", action="store_true", help=help_raw)
    parser.add_argument("--non-finite", action="store_true", help=HELP_NON_FINITE)
    more = parser.add_argument_group("with --to program")
    help_config = "the sampler of the stage, instead of the network; or the parts of a stack"
    more.add_argument("--config", metavar="FILE.py[:VARIANT]", help=help_config)
    help_size = "height and width of the latents, default 64x64"
    more.add_argument("--size", type=size, metavar="HxW", help=help_size)
    more.add_argument("--frames", type=positive, help="of a video, default 8; of a stack's decoder")
    more.add_argument("--tokens", type=positive, help="of the text, default 77")
    return parser


def _export_sampler(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    config = load_config(args.config, overrides)
    folder = resolve(args.source).is_dir()
    weights = str(Path(args.source) / WEIGHTS) if folder else args.source
    stage = make_plan(config).stage
    if stage.reconstructs:
        raise InputError(
            f"{args.config}: what objective {config.objective.kind!r} makes is made of frames: "
            "export the stack that it is a part of, --config configs/driving/stack.py"
        )
    stage.request(1)  # raises where a config cannot ask, before weights are read
    params, files = stage.load(weights)
    function = sampler_function(stage, params)
    exports.write_function(function, args.out, about(stage, files), args.dtype)
    print(f"{args.out}: a sampler as a program for cpu, cuda and tpu")


def _export_stack(parser: Parser, args: argparse.Namespace, overrides: Sequence[str]) -> None:
    if args.source is not None:
        parser.error("a stack names the weights of its parts: config.parts.NAME.weights")
    if args.size is not None or args.tokens is not None:
        parser.error("--size and --tokens go with a network; a stack has its own")
    config = load_config(args.config, overrides)
    plan = make_stack_plan(parts_of_stack(args.config, config), float(config.seconds))
    names = write_programs(plan, config.seed, args.frames or FRAMES, args.out, args.dtype)
    print(f"{args.out}: {', '.join(names)} as programs for cpu, cuda and tpu")


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return value
