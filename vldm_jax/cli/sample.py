"""`vldm sample`: videos (or images) of a trained stage, with a contact sheet and metadata."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

import vldm_jax
from vldm_jax.build.check import check, check_files
from vldm_jax.build.origin import check_origin
from vldm_jax.build.sampler import Sampler
from vldm_jax.build.stages import build_sampler
from vldm_jax.checkpoint.weights import WEIGHTS, check_backbone
from vldm_jax.cli.flags import Parser, add_config, parse_with_config
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import check_writable, write_json
from vldm_jax.data.write import write_contact_sheet, write_gif, write_video
from vldm_jax.interop.weights import read_weights
from vldm_jax.models.table import TEMPORAL
from vldm_jax.training.precision import cast_frozen
from vldm_jax.typing import Float, PyTree, UInt8

ROW = 4  # images in a row of the contact sheet
KINDS = {"image": "unet", "video": TEMPORAL}


def run(argv: Sequence[str]) -> None:
    """Parse the flags, sample, write."""
    parser = Parser("sample", "Sample a trained stage: mp4, GIF, contact sheet, metadata.json.")
    add_config(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", help="folder that the stage was trained in")
    source.add_argument("--weights", help="weights file instead of a workdir, also asset:NAME")
    parser.add_argument("--out", required=True, help="folder to write to")
    args, config = parse_with_config(parser, argv)
    check(config)
    weights = args.weights or str(Path(args.workdir) / WEIGHTS)
    check_writable(args.out)
    sampler, params, files = load_trained(config, weights)
    videos, labels = sampler(params, config.sampling.num_videos)
    out = Path(args.out)
    write_samples(out, videos, labels, config)
    write_json(out / "metadata.json", describe(config, files, labels))
    print(f"{out}: {len(videos)} samples of {videos.shape[1]} frames, and contact_sheet.png")


def load_trained(config: ConfigDict, weights: str) -> tuple[Sampler, PyTree, dict[str, str]]:
    """Return the sampler of a trained stage, its whole parameters and the hashes of all files.

    Raises:
        InputError: if there is no such file, or it was trained on another backbone or network.
    """
    kind = config.objective.kind
    if kind not in KINDS:
        raise InputError("an autoencoder has nothing to sample; use the image or video config")
    if not weights.startswith("asset:") and not Path(weights).exists():
        raise InputError(f"{weights} does not exist: train first (vldm train writes it at its end)")
    check_files(config)
    sampler, params, files = build_sampler(config)
    trained = read_weights(weights, KINDS[kind], "--weights")
    digest = files[config.model.autoencoder]
    check_origin(weights, trained.fields, trained.meta, config, sampler.network, digest)
    if kind == "video":
        check_backbone(weights, trained.meta, config.model.backbone, files[config.model.backbone])
        params["network"] = paths.merge(params["network"], trained.params)
    else:
        params["network"] = trained.params
    sampler.check(params["network"], weights)
    params = cast_frozen(params, "float32")
    return sampler, params, files | {weights: trained.sha256}


def write_samples(
    out: Path,
    videos: UInt8[np.ndarray, "b t h w 3"],
    labels: np.ndarray,
    config: ConfigDict,
) -> None:
    """Write every video as mp4 and GIF (single frames only on the sheet) and one contact sheet."""
    fps = float(config.data.fps)
    if videos.shape[1] > 1:
        for i, video in enumerate(videos):
            write_video(out / f"{i:04}.mp4", video, fps)
            write_gif(out / f"{i:04}.gif", video, fps)
    write_sheet(out / "contact_sheet.png", videos, labels)


def write_sheet(
    path: Path, videos: UInt8[np.ndarray, "b t h w 3"], labels: Float[np.ndarray, "b k"]
) -> None:
    """Write a contact sheet: a video has a row of its own, single frames share one."""
    together = 1 if videos.shape[1] > 1 else ROW
    starts = range(0, len(videos), together)
    rows = [np.concatenate(videos[i : i + together]) for i in starts]
    write_contact_sheet(path, rows, [caption(i, labels[i : i + together]) for i in starts])


def caption(first: int, labels: np.ndarray) -> str:
    """Return the line above a row of the contact sheet: number of its first sample, labels."""
    texts = (", ".join("any" if np.isnan(v) else f"{v:g}" for v in row) for row in labels)
    return f"{first:04}  " + "; ".join(text for text in texts if text)


def describe(config: ConfigDict, files: dict[str, str], labels: np.ndarray) -> dict:
    """Return what made the samples, for metadata.json."""
    return {
        "version": vldm_jax.__version__,
        "seed": config.seed,
        "fps": float(config.data.fps),
        "size": [config.data.height, config.data.width],
        "labels": [[None if np.isnan(v) else float(v) for v in row] for row in labels],
        "sampling": config.sampling.to_dict(),
        "diffusion": config.diffusion.to_dict(),
        "weights_sha256": {Path(path).name: digest for path, digest in files.items()},
    }
