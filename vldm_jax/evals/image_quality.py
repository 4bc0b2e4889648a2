"""PSNR, SSIM and LPIPS of clips against references, frame by frame: how good a reconstruction is.

    PSNR = -10 log10 mean (x - y)^2                                  of frames in [0, 1], in decibel
    SSIM = mean (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2))

with means m, variances s^2 and covariance sxy under a Gaussian window of 11x11 pixels and deviation
1.5, C1 = 0.01^2, C2 = 0.03^2, where the window lies in the frame. Deviation: the paper has grey
images; here each channel is compared and the mean taken, as is usual for colour.

`psnr`, `ssim` and `lpips` return one value a clip, the mean over its frames, and work on a few
frames at a time. Frames are either uint8 or floats in [0, 1].

Source: Wang et al., Image Quality Assessment, IEEE TIP 13(4), 2004, eq. 13; LPIPS,
arXiv:1801.03924.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.run import compiled, in_chunks
from vldm_jax.models.perceptual import LPIPS
from vldm_jax.models.perceptual_weights import load_lpips_weights
from vldm_jax.typing import Float, PyTree, Shaped, UInt8

Videos: TypeAlias = UInt8[np.ndarray, "b t h w 3"] | Float[np.ndarray, "b t h w 3"]
References: TypeAlias = UInt8[np.ndarray, "b2 t2 h2 w2 3"] | Float[np.ndarray, "b2 t2 h2 w2 3"]
Frame: TypeAlias = Float[np.ndarray, "h w c"]
WINDOW, DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def psnr(videos: Videos, references: References) -> Float[np.ndarray, " b"]:
    """Return the mean PSNR of each clip's frames, in decibel.

    A frame that equals its reference has an infinite PSNR, and so has its clip then.

    Args:
        videos: clips.
        references: what they should be, of the same shape.

    Raises:
        InputError: if the shapes differ, or a clip has values that are not finite or not in [0, 1].
    """
    return decibels(squared_errors(videos, references)).mean(axis=1)


def squared_errors(videos: Videos, references: References) -> Float[np.ndarray, "b t"]:
    """Return the mean squared error of each frame, of values in [0, 1]; raises as `psnr`."""
    return _per_frame(lambda x, y: float(np.mean(np.square(x - y))), videos, references)


def error_changes(videos: Videos, references: References) -> Float[np.ndarray, "b changes"]:
    """Return the mean change of the error from each frame to the next, of values in [0, 1].

    With e = x - y, mean |e[t + 1] - e[t]|: what flickers in a video and not in its reference; a
    constant fault, or one that stands still, has none. There is one change less than frames.

    Raises:
        InputError: as `psnr`.
    """
    _check(videos, references)
    return np.asarray(
        [
            np.abs(np.diff(_unit(x) - _unit(y), axis=0)).mean(axis=(1, 2, 3))
            for x, y in zip(videos, references, strict=True)
        ]
    )


def decibels(errors: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the PSNR of mean squared errors, infinite where one is 0."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(errors)


def ssim(videos: Videos, references: References) -> Float[np.ndarray, " b"]:
    """Return the mean SSIM of each clip's frames, in [-1, 1]; 1 for equal frames.

    Args:
        videos: clips.
        references: what they should be, of the same shape.

    Raises:
        InputError: as `psnr`, or if the frames are smaller than the window.
    """
    return ssim_of_frames(videos, references).mean(axis=1)


def ssim_of_frames(videos: Videos, references: References) -> Float[np.ndarray, "b t"]:
    """Return the SSIM of each frame; raises as `ssim`."""
    h, w = videos.shape[2:4]
    if min(h, w) < WINDOW:
        raise InputError(
            f"frames of {h}x{w} are smaller than SSIM's window of {WINDOW}x{WINDOW}: leave it out, "
            "or compare larger ones"
        )
    return _per_frame(_ssim, videos, references)


def lpips(
    videos: Videos,
    references: References,
    *,
    net: str = "alexnet",
    params: PyTree | None = None,
    size: int = 16,
) -> Float[np.ndarray, " b"]:
    """Return the mean LPIPS of each clip's frames; 0 for equal frames.

    Args:
        videos: clips.
        references: what they should be, of the same shape.
        net: "alexnet", which published figures have, or "vgg16".
        params: of `LPIPS(net)`; None for the package's.
        size: frames at a time.

    Raises:
        InputError: as `psnr`, or if the weights are not installed or the frames too small.
    """
    found = lpips_of_frames(videos, references, net=net, params=params, size=size)
    return found.mean(axis=1)


def lpips_of_frames(
    videos: Videos,
    references: References,
    *,
    net: str = "alexnet",
    params: PyTree | None = None,
    size: int = 16,
) -> Float[np.ndarray, "b t"]:
    """Return the LPIPS of each frame; arguments and errors as those of `lpips`."""
    _check(videos, references)
    params = load_lpips_weights(net) if params is None else params
    run = compiled(LPIPS(net))

    def distance(x, y):
        return run(params, *(np.float32(2 * _unit(frames) - 1) for frames in (x, y)))

    b, t = videos.shape[:2]
    flat = (array.reshape(b * t, *array.shape[2:]) for array in (videos, references))
    return in_chunks(distance, *flat, size=size).astype(np.float64).reshape(b, t)


def _per_frame(
    figure: Callable[[Frame, Frame], float], videos: Videos, references: References
) -> Float[np.ndarray, "b t"]:
    _check(videos, references)
    frames = [
        [figure(_unit(x), _unit(y)) for x, y in zip(*pair, strict=True)]
        for pair in zip(videos, references, strict=True)
    ]
    return np.asarray(frames)


def _check(videos: Videos, references: References) -> None:
    """Raise unless both are sets of the same shape of frames with values in their range."""
    if videos.shape != references.shape:
        raise InputError(
            f"videos of the shape {videos.shape}, references of {references.shape}: compare each "
            "clip with one of the same frames and size"
        )
    if 0 in videos.shape:
        raise InputError(f"videos of the shape {videos.shape} have no pixels to compare")
    for name, clips in (("videos", videos), ("references", references)):
        for index, clip in enumerate(clips):
            if clip.dtype == np.uint8:
                continue
            if not np.isfinite(clip).all():
                raise InputError(f"clip {index} of the {name} has values that are not finite")
            if clip.min() < 0 or clip.max() > 1:
                raise InputError(
                    f"clip {index} of the {name} has values in [{clip.min():.4g}, "
                    f"{clip.max():.4g}]: give uint8, or floats in [0, 1]"
                )


def _unit(frames: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return values in [0, 1], float64."""
    return frames / 255.0 if frames.dtype == np.uint8 else frames.astype(np.float64)


def _ssim(x: Frame, y: Frame) -> float:
    mx, my = _blur(x), _blur(y)
    variances = _blur(x * x) - mx * mx + _blur(y * y) - my * my
    covariance = _blur(x * y) - mx * my
    likeness = (2 * mx * my + C1) * (2 * covariance + C2)
    return float(np.mean(likeness / ((mx * mx + my * my + C1) * (variances + C2))))


def _blur(x: Frame) -> Float[np.ndarray, "h2 w2 c"]:
    """Return the Gaussian mean around every pixel whose window lies in the frame."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * DEVIATION**2))
    weights /= weights.sum()
    for axis in (0, 1):
        x = np.lib.stride_tricks.sliding_window_view(x, WINDOW, axis) @ weights
    return x
