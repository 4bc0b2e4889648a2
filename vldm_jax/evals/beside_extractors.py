"""Extractors that take something beside a clip: its caption, or the clip that it should be."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.evals.companions import CAPTION, REFERENCE
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.given_weights import needed, refused
from vldm_jax.evals.image_quality import (
    DEVIATION,
    WINDOW,
    lpips_of_frames,
    squared_errors,
    ssim_of_frames,
)
from vldm_jax.evals.networks.clip import Clip, clip_similarity, load_clip
from vldm_jax.models.perceptual_weights import LPIPS_WEIGHTS, load_lpips_weights
from vldm_jax.typing import Float, UInt8

Clips = Sequence[UInt8[np.ndarray, "t h w 3"]]
Rows = Float[np.ndarray, "b t 1"]


def clip(weights: Path | None) -> Extractor:
    """Return the cosines of frames and captions, a row a frame."""
    path = needed(weights, "clip", "the folder of openai/clip-vit-base-patch32")
    network = load_clip(path)

    def cosines(videos: UInt8[np.ndarray, "b t h w 3"], captions: Sequence[str]) -> Rows:
        return clip_similarity(network, videos, captions)[..., None]

    def cut(clips: Sequence[str], captions: Sequence[str]) -> str:
        long = [one for one, text in zip(clips, captions, strict=True) if network.is_cut(text)]
        most = network.tokenizer.length - 2
        what = f"{len(long)} of {len(clips)} captions are longer than {most} tokens and were cut"
        return f"{what}, the first is of {long[0]}" if long else ""

    return Extractor(
        name="clip", compute=cosines, batch=4, beside=CAPTION, remark=cut,
        recipe={
            "weights": _fingerprint(network), "size": [network.image.size] * 2,
            "patch": network.image.patch, "filter": "bicubic, centre",
        },
    )  # fmt: skip


def squared_error(weights: Path | None) -> Extractor:
    """Return mean squared errors, a row a frame."""
    refused(weights, "squared_error")
    return Extractor(
        name="squared_error", batch=4, beside=REFERENCE, recipe={"of": "RGB in [0, 1]"},
        compute=lambda videos, like: squared_errors(videos, np.stack(like))[..., None],
    )  # fmt: skip


def ssim(weights: Path | None) -> Extractor:
    """Return structural similarity, a row a frame."""
    refused(weights, "ssim")
    return Extractor(
        name="ssim", batch=4, beside=REFERENCE,
        recipe={"of": "RGB, each channel", "window": WINDOW, "deviation": DEVIATION},
        compute=lambda videos, like: ssim_of_frames(videos, np.stack(like))[..., None],
    )  # fmt: skip


def lpips(weights: Path | None) -> Extractor:
    """Return LPIPS, a row a frame."""
    net = "alexnet"
    params = load_lpips_weights(net, weights)

    def distances(videos: UInt8[np.ndarray, "b t h w 3"], like: Clips) -> Rows:
        try:
            return lpips_of_frames(videos, np.stack(like), net=net, params=params)[..., None]
        except InputError as error:
            h, w = videos.shape[2:4]
            raise InputError(f"lpips of frames of {h}x{w}: {error}, or leave it out") from error

    return Extractor(
        name="lpips", compute=distances, batch=4, beside=REFERENCE,
        recipe={"net": net, **LPIPS_WEIGHTS[net].recipe},
    )  # fmt: skip


def _fingerprint(network: Clip) -> str:
    """Return the SHA-256 of a network and its tokenizer, in whatever files they came."""
    digest = hashlib.sha256(network.tokenizer.encoder.to_str().encode())
    for name, leaf in sorted(paths.flatten(network.params).items()):
        digest.update(f"{name} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf, np.float32))
    return digest.hexdigest()
