"""The networks and measurements that figures are made of, a row each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.evals import beside_extractors, measures
from vldm_jax.evals.box_agreement import box_rows
from vldm_jax.evals.companions import BOXES
from vldm_jax.evals.detect import ROWS, load_judge
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.given_weights import needed
from vldm_jax.evals.networks.c3d import C3D, load_c3d_weights, prepare_c3d
from vldm_jax.evals.networks.efficientnet import (
    EFFICIENTNET_WEIGHTS,
    EfficientNetLite0,
    load_efficientnet_weights,
)
from vldm_jax.evals.networks.i3d import I3D, SMALLEST
from vldm_jax.evals.networks.i3d_weights import I3D_WEIGHTS, load_i3d_weights
from vldm_jax.evals.networks.inception import (
    Inception,
    load_inception_weights,
    prepare_inception,
)
from vldm_jax.evals.resize import resize
from vldm_jax.parallel.mesh import make_mesh, replicate
from vldm_jax.parallel.split import filled, placed, split_over
from vldm_jax.typing import Array, Float, PyTree, UInt8

SIZE = 224  # of the classifiers' frames
FILLED = 16  # frames of a clip that is too short for I3D, played forth and back until then


def make_extractor(name: str, weights: Path | None = None) -> Extractor:
    """Return an extractor by its name.

    Args:
        name: a key of `EXTRACTORS`.
        weights: file of the network's weights, where no package has them.

    Raises:
        InputError: if there is no such one, or its weights cannot be had.
    """
    if name not in EXTRACTORS:
        raise InputError(f"unknown extractor {name!r}; there are {', '.join(EXTRACTORS)}")
    return EXTRACTORS[name](weights)


def _i3d(weights: Path | None) -> Extractor:
    filter = "bilinear"  # without antialiasing: as the FVD of StyleGAN-V, which people quote
    params, net = load_i3d_weights(weights), I3D()

    def logits(params: PyTree, video: UInt8[Array, "b t h w 3"]) -> Float[Array, "b 1 400"]:
        return net.apply({"params": params}, _resized(_long_enough(video), filter))[:, None]

    return Extractor(
        name="i3d", compute=_on_all_devices(logits, params), batch=_batch(4),
        recipe={
            **I3D_WEIGHTS.recipe, "size": [SIZE, SIZE], "filter": filter,
            "short_clips": f"under {SMALLEST[0]} frames forth and back to {FILLED}",
        },
    )  # fmt: skip


def _efficientnet_lite0(weights: Path | None) -> Extractor:
    filter = "bicubic"
    params, net = load_efficientnet_weights(weights), EfficientNetLite0()

    def features(params: PyTree, video: UInt8[Array, "b t h w 3"]) -> Float[Array, "b t d"]:
        def of_clip(clip: UInt8[Array, "t h w 3"]) -> Float[Array, "t d"]:
            return net.apply({"params": params}, _resized(clip[None], filter)[0])

        return jax.lax.map(of_clip, video)

    return Extractor(
        name="efficientnet_lite0", compute=_on_all_devices(features, params), batch=_batch(4),
        recipe={**EFFICIENTNET_WEIGHTS.recipe, "size": [SIZE, SIZE], "filter": filter},
    )  # fmt: skip


def _inception(weights: Path | None) -> Extractor:
    path = needed(weights, "inception", "pt_inception-2015-12-05-6726825d.pth")
    params, net = load_inception_weights(path), Inception()

    def features(params: PyTree, video: UInt8[Array, "b t h w 3"]) -> Float[Array, "b t d"]:
        def of_clip(clip: UInt8[Array, "t h w 3"]) -> Float[Array, "t d"]:
            return net.apply({"params": params}, prepare_inception(clip))

        return jax.lax.map(of_clip, video)

    return Extractor(
        name="inception", compute=_on_all_devices(features, params), batch=_batch(2),
        recipe={"weights": sha256(path), "size": [299, 299], "filter": "bilinear"},
    )  # fmt: skip


def _c3d(weights: Path | None) -> Extractor:
    path = needed(weights, "c3d", "C3D of UCF-101")
    params, net = load_c3d_weights(path), C3D()

    def logits(params: PyTree, video: UInt8[Array, "b t h w 3"]) -> Float[Array, "b 1 k"]:
        return net.apply({"params": params}, prepare_c3d(video))[:, None]

    return Extractor(
        name="c3d", compute=_on_all_devices(logits, params), batch=_batch(4),
        recipe={"weights": sha256(path), "size": [112, 112], "filter": "bilinear"},
    )  # fmt: skip


def _detector(weights: Path | None) -> Extractor:
    judge = load_judge(weights)
    return Extractor(
        name="detector", compute=_on_all_devices(judge.numbers, judge.params), batch=_batch(4),
        recipe={"weights": judge.sha256, "rows": ROWS, "threshold": judge.module.threshold},
    )  # fmt: skip


def _boxes(weights: Path | None) -> Extractor:
    judge = load_judge(weights, "boxes")
    detect = _on_all_devices(judge.boxes, judge.params)
    return Extractor(
        name="boxes", batch=_batch(4), beside=BOXES,
        compute=lambda videos, asked: box_rows(detect(videos), np.stack(asked)),
        recipe={"weights": judge.sha256, "rows": ROWS, "threshold": judge.module.threshold},
    )  # fmt: skip


EXTRACTORS: dict[str, Callable[[Path | None], Extractor]] = {
    "i3d": _i3d,
    "detector": _detector,
    "boxes": _boxes,
    "efficientnet_lite0": _efficientnet_lite0,
    "inception": _inception,
    "c3d": _c3d,
    "motion": measures.motion,
    "flow": measures.flow,
    "look": measures.look,
    "lines": measures.lines,
    "clip": beside_extractors.clip,
    "squared_error": beside_extractors.squared_error,
    "error_change": beside_extractors.error_change,
    "ssim": beside_extractors.ssim,
    "lpips": beside_extractors.lpips,
}


def _long_enough(video: UInt8[Array, "b t h w 3"]) -> UInt8[Array, "b T h w 3"]:
    """Return clips that I3D takes: too short ones end where they began, without a jump."""
    frames = video.shape[1]
    if frames >= SMALLEST[0]:
        return video
    there_and_back = np.pad(np.arange(frames), (0, FILLED - frames), mode="reflect")
    return video[:, there_and_back]


def _resized(video: UInt8[Array, "b t h w 3"], filter: str) -> Float[Array, "b t H W 3"]:
    """Return frames in [-1, 1] at the classifiers' size."""
    x = video.reshape(-1, *video.shape[2:]).astype(jnp.float32) / 127.5 - 1.0
    return resize(x, (SIZE, SIZE), filter).reshape(*video.shape[:2], SIZE, SIZE, 3)


def _batch(clips: int) -> int:
    """Return a batch of at least as many clips that divides over this machine's devices."""
    return filled(clips, jax.local_device_count())


def _in_float32(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return the function with products in float32, which matrix units would round.

    Its figures are compared with those of other machines.
    """

    def run(*args: Any) -> Array:
        with jax.default_matmul_precision("highest"):
            return function(*args)

    return run


def _on_all_devices(
    function: Callable[[PyTree, Array], Array], params: PyTree
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function of a batch, split over the devices, with the parameters on each."""
    devices = jax.local_devices()
    held = replicate(params, make_mesh(devices))
    run = split_over(_in_float32(function), devices, whole=1)
    return lambda videos: np.asarray(run(held, placed(videos, devices)))
