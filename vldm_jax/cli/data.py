"""`vldm data`: build records or driving clips, and inspect what the model sees.

vldm data build folder  --videos DIR --out DIR --size 128x256 --fps 24
vldm data build driving --out DIR --clips 600 --seed 100000 --size 128x256
vldm data inspect --config configs/driving/video.py:tiny --out DIR
"""

from collections.abc import Sequence

from vldm_jax.cli.flags import Parser, add_config, folder, parse_with_config, size
from vldm_jax.config.base import base_config
from vldm_jax.config.data import build_source
from vldm_jax.config.ranges import check_complete, check_ranges
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_new
from vldm_jax.core.words import counted
from vldm_jax.data.inspect import FILES, write_inspection
from vldm_jax.data.records import build_records

HELP = ("-h", "--help")
USAGE = "vldm data: say what to do: build folder, build driving, or inspect"


def run(argv: Sequence[str]) -> None:
    """Find the sub-command and run it."""
    commands = {
        ("build", "folder"): _build_records,
        ("build", "driving"): _build_driving,
        ("inspect",): _inspect,
    }
    for words, command in commands.items():
        if tuple(argv[: len(words)]) == words:
            return command(argv[len(words) :])
    if argv and argv[-1] in HELP and tuple(argv[:-1]) in ((), ("build",)):
        print(__doc__)
        return None
    raise InputError(USAGE)


def _build_records(argv: Sequence[str]) -> None:
    parser = Parser("data build folder", "Store a folder of videos as ArrayRecords.")
    parser.add_argument("--videos", required=True, help="folder, searched recursively")
    parser.add_argument("--out", type=folder, required=True, help="new folder for the records")
    parser.add_argument("--size", type=size, required=True, metavar="HxW", help="stored size")
    parser.add_argument("--fps", type=float, required=True, help="stored frames per second")
    parser.add_argument("--crf", type=int, default=14, help="H.264 quality, lower is better")
    parser.add_argument("--test-fraction", type=float, default=0.0, help="share held out, by shot")
    args = parser.parse_args(argv)
    height, width = args.size
    print(
        build_records(
            args.videos,
            args.out,
            height=height,
            width=width,
            fps=args.fps,
            crf=args.crf,
            test_fraction=args.test_fraction,
        )
    )


def _build_driving(argv: Sequence[str]) -> None:
    parser = Parser("data build driving", "Render driving clips with labels and boxes.")
    help_out = "folder for the clips; goes on if it has some"
    parser.add_argument("--out", type=folder, required=True, help=help_out)
    parser.add_argument("--clips", type=int, required=True, help="number of clips")
    parser.add_argument("--seed", type=int, default=0, help="of the first clip; then one more each")
    parser.add_argument("--size", type=size, default=(128, 256), metavar="HxW", help="frame size")
    parser.add_argument("--frames", type=int, default=120, help="frames a clip")
    parser.add_argument("--fps", type=float, default=30.0, help="how often the world is looked at")
    parser.add_argument("--crf", type=int, default=17, help="H.264 quality, lower is better")
    parser.add_argument("--records", action="store_true", help="ArrayRecords instead of mp4 files")
    parser.add_argument("--test-clips", type=int, default=0, help="held-out clips, with --records")
    args = parser.parse_args(argv)
    # A room that no other command knows; it is opened here.
    from vldm_jax.driving.builder import build_records as build_driving_records
    from vldm_jax.driving.folder import build_folder

    recipe = {
        "seed": args.seed, "num_frames": args.frames, "fps": args.fps, "size": args.size,
        "crf": args.crf,
    }  # fmt: skip
    if args.records:
        build_driving_records(args.out, clips=args.clips, test_clips=args.test_clips, **recipe)
        clips = counted(args.clips, "clip")
        print(f"{args.out}: {clips} to train on, {args.test_clips} to test on")
    elif args.test_clips:
        parser.error("--test-clips needs --records; a folder has no splits")
    else:
        build_folder(args.out, args.clips, **recipe)
        print(f"{args.out}: {counted(args.clips, 'clip')}, labels.json, boxes.npz")


def _inspect(argv: Sequence[str]) -> None:
    parser = Parser("data inspect", "Write a contact sheet of exactly what the model sees.")
    add_config(parser)
    help_out = "folder to write to, new or with an earlier inspection"
    parser.add_argument("--out", type=folder, required=True, help=help_out)
    parser.add_argument("--count", type=int, default=16, help="examples to show")
    args, config = parse_with_config(parser, argv)
    check_complete(config, base_config())
    check_ranges(config)
    check_new(args.out, replaced=FILES)
    if args.count < 1:
        raise InputError(f"vldm data inspect: --count must be at least 1, got {args.count}")
    source = build_source(config.data)
    write_inspection(
        source, args.out, count=args.count, seed=config.seed, worker_count=config.data.workers
    )
    print(f"{args.out}: sheet.png, summary.txt and, for clips, clips.mp4")
