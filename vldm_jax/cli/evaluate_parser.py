"""The flags of `vldm evaluate`, and what they mean together."""

import argparse
from pathlib import Path

from vldm_jax.cli.evaluate_flags import add_figures, seed
from vldm_jax.cli.flags import Parser, add_config, folder, positive, size
from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import WINDOWS
from vldm_jax.evals.figures import DEFAULT, FIGURES
from vldm_jax.evals.given import Borders, Drawn, Given, Tiles
from vldm_jax.evals.presets import PRESETS


def parser() -> Parser:
    """Return the parser."""
    parser = Parser("evaluate", "Figures of samples against real clips, with recipe and floor.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--samples", type=Path, help="folder of generated videos, anybody's")
    what.add_argument("--workdir", type=folder, help="folder that a stage was trained in")
    what.add_argument("--weights", help="weights file of a stage, also asset:NAME, with --config")
    parser.add_argument(
        "--real", type=Path, help="folder of real videos, with --samples or a stack"
    )
    add_config(parser, required=False)
    parser.add_argument("--out", type=folder, required=True, help="new folder to write to")
    add_figures(parser, usual=",".join(DEFAULT))
    parser.add_argument("--preset", choices=sorted(PRESETS), help="a protocol that people quote")
    parser.add_argument("--clips", type=positive, help="in each set; real clips are taken twice")
    parser.add_argument(
        "--no-floor", action="store_true",
        help="take real clips once, as published protocols do: no figure has a floor then",
    )  # fmt: skip
    parser.add_argument("--frames", type=positive, help="of a clip, 16; a run's own")
    parser.add_argument("--fps", type=float, help="of a clip; the samples' own")
    parser.add_argument("--size", type=size, metavar="HxW", help="of a clip; the samples' own")
    for kind, default in (("real", "all"), ("sample", "first")):
        parser.add_argument(
            f"--{kind}-windows", choices=WINDOWS, help=f"clips of a {kind} video, {default}"
        )
    parser.add_argument("--seed", type=seed, default=0, help="of all that is drawn")
    _add_given(parser)
    parser.add_argument(
        "--name", help="of the samples in table and picture; that of the folder --out"
    )
    parser.add_argument(
        "--beside", action="append", type=Path, default=[], metavar="METRICS.json",
        help="another evaluation to show in the table, with what it has otherwise",
    )  # fmt: skip
    return parser


def _add_given(parser: Parser) -> None:
    parser.add_argument(
        "--frames-drawn", type=positive, metavar="N",
        help="frames of each set for fid and frechet_lite0, drawn by the seed; all",
    )  # fmt: skip
    parser.add_argument(
        "--captions", type=Path, metavar="FILE",
        help="video and caption, JSON, JSONL or CSV, for clipsim",
    )  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--chunk", type=_chunk, metavar="N[:OVERLAP]",
        help="frames that were made at once, for seam_time; so many given by the chunk before",
    )  # fmt: skip
    where.add_argument(
        "--borders", type=_frames, metavar="A,B,...", help="first frames of chunks, instead"
    )
    parser.add_argument("--tiles", type=size, metavar="HxW", help="of a picture, for seam_space")


def apply_preset(args: argparse.Namespace) -> None:
    """Fill in what no flag says: from the preset, else the usual.

    `args.asked` is then how a message names what asks for so many clips, or frames: the flag, or
    the preset; `args.by_preset` says all that the preset filled in.

    Raises:
        InputError: for flags of folders, of which a run has none.
    """
    for flag, videos in (("real", args.real), ("sample", args.samples)):
        if videos is None and getattr(args, f"{flag}_windows") is not None:
            raise InputError(
                f"--{flag}-windows says which clips of a folder of videos are taken: a run is "
                "compared with all windows of its data, leave it out"
            )
    preset = PRESETS[args.preset] if args.preset else None
    usual = {
        "figures": DEFAULT, "frames": None, "clips": None, "fps": None, "real_windows": "all",
        "frames_drawn": None,
    }  # fmt: skip
    args.asked = {name: f"--{name.replace('_', '-')}" for name in ("clips", "frames_drawn")}
    filled = []
    for name, value in usual.items():
        if getattr(args, name) is None:
            if name in args.asked and preset is not None:
                args.asked[name] = f"--preset {args.preset}: {name.replace('_', ' ')}"
            own = name.removeprefix("real_")
            value = value if preset is None else getattr(preset, own)
            setattr(args, name, value)
            if preset is not None and value is not None and name != "figures":
                filled.append(f"{name.replace('_', ' ')} {value}")
    args.by_preset = ", ".join(filled)
    args.sample_windows = args.sample_windows or "first"


def given_by(args: argparse.Namespace) -> Given:
    """Return what figures take beside clips.

    Raises:
        InputError: for what no figure that is asked for takes, or what cannot be.
    """
    figures = [FIGURES[name] for name in args.figures]
    taken = {one for figure in figures for one in (*figure.takes, *figure.needs)}
    kinds = {figure.beside for figure in figures}
    for flag, value, used in (
        ("--frames-drawn", None if args.preset else args.frames_drawn, "drawn" in taken),
        ("--chunk", args.chunk, "borders" in taken),
        ("--borders", args.borders, "borders" in taken),
        ("--tiles", args.tiles, "tiles" in taken),
        ("--captions", args.captions, "caption" in kinds),
    ):
        if value is not None and not used:
            names = ", ".join(args.figures)
            raise InputError(
                f"{flag} says nothing to {names}: leave it out, or ask for more figures"
            )
    if "borders" in taken and args.sample_windows != "first":
        raise InputError(
            f"--sample-windows {args.sample_windows}: borders of chunks are counted from the first "
            "frame of a video, so seam_time takes --sample-windows first"
        )
    borders = args.chunk or args.borders
    return Given(
        borders=borders,
        tiles=Tiles(height=args.tiles[0], width=args.tiles[1]) if args.tiles else None,
        drawn=_drawn(args) if args.frames_drawn else None,
    )


def _drawn(args: argparse.Namespace) -> Drawn:
    return Drawn(frames=args.frames_drawn, seed=args.seed, asked=args.asked["frames_drawn"])


def _chunk(text: str) -> Borders:
    chunk, colon, overlap = text.partition(":")
    try:
        if colon and overlap == "0":
            overlap = ""
        return Borders(chunk=positive(chunk), overlap=positive(overlap) if overlap else 0)
    except (argparse.ArgumentTypeError, InputError) as error:
        raise argparse.ArgumentTypeError(
            f"write {text!r} as FRAMES or FRAMES:OVERLAP, the overlap less than the frames"
        ) from error


def _frames(text: str) -> Borders:
    try:
        return Borders(listed=tuple(positive(word.strip()) for word in text.split(",")))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"write {text!r} as whole numbers, as 8,16") from error
