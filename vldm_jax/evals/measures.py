"""Extractors that measure: block matching, optical flow, colours, and lines of a picture."""

from pathlib import Path

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.evals.drift import frame_figures
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.flow_rows import flow_rows
from vldm_jax.evals.given_weights import refused
from vldm_jax.evals.motion import motion_rows
from vldm_jax.evals.networks.flow_weights import RIFE, load_flow_weights
from vldm_jax.evals.seams import STRETCH, jumps
from vldm_jax.typing import Float, UInt8

SMALLEST = 4  # lines to a side, of a third difference


def motion(weights: Path | None) -> Extractor:
    """Return what block matching finds, a row a clip."""
    refused(weights, "motion")
    block, reach = 8, 6
    return Extractor(
        name="motion", compute=lambda videos: motion_rows(videos, block, reach)[:, None],
        recipe={"block": block, "reach": reach}, batch=8,
    )  # fmt: skip


def flow(weights: Path | None) -> Extractor:
    """Return all that figures take of the optical flow, which is computed once for them."""
    params = load_flow_weights(weights)
    return Extractor(
        name="flow", compute=lambda videos: flow_rows(params, videos)[:, None],
        recipe={**RIFE.recipe, "rows": "errors and statistics"}, batch=4,
    )  # fmt: skip


def look(weights: Path | None) -> Extractor:
    """Return colour and sharpness, a row a frame."""
    refused(weights, "look")
    return Extractor(
        name="look", compute=lambda videos: np.stack([frame_figures(one) for one in videos]),
        recipe={"space": "CIELAB"}, batch=4,
    )  # fmt: skip


def lines(weights: Path | None) -> Extractor:
    """Return the jumps across lines: rows of the picture, then columns; the shorter ends in -1."""
    refused(weights, "lines")

    def of(video: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "2 lines"]:
        h, w = video.shape[1:3]
        if min(h, w) < SMALLEST:
            raise InputError(f"frames of {h}x{w} have no lines to compare: give larger ones")
        found = [jumps(video, axis) for axis in (1, 2)]
        longest = max(map(len, found))
        fill = [np.pad(one, (0, longest - len(one)), constant_values=-1) for one in found]
        return np.stack(fill)

    return Extractor(
        name="lines", compute=lambda videos: np.stack([of(video) for video in videos]),
        recipe={"stretch": STRETCH}, batch=4,
    )  # fmt: skip
