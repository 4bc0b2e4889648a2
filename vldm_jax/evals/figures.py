"""The figures: what each is, by which numbers of clips, and which way is better.

A figure compares the samples' numbers with the real clips' (`against_real`), or is a mean of the
samples' own. Its floor is the same figure with real clips in the place of the samples (`value`).
Some are of clips that have something beside them, a caption or what they should be (`beside`), and
some take settings (`given.Given`): they name both.

A new figure is a row here; a new network or measurement is a row in `extractors`.
"""

import dataclasses
import math
from collections.abc import Callable

from vldm_jax.evals.agreement import cars_apart, cars_order, night_agreement
from vldm_jax.evals.box_agreement import boxes_found, boxes_of_others
from vldm_jax.evals.companions import BOXES, CAPTION, REFERENCE
from vldm_jax.evals.detect import CARS, NIGHT
from vldm_jax.evals.interval import DRAWS
from vldm_jax.evals.of_rows import (
    SPLITS,
    clipsim,
    drift,
    equal_frames,
    few_clips,
    few_flows,
    few_frames,
    frechet,
    frechet_of_frames,
    frechet_of_motion,
    inception,
    kernel,
    mean,
    motion,
    psnr,
    seam_in_space,
    seam_in_time,
    small_splits,
    warp_error,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
        extractor: whose numbers it is made of, a key of `extractors.EXTRACTORS`.
        of: (samples, real) -> value, or of the samples alone; numbers (n rows d), a clip first;
            settings come by their names.
        against_real: whether it compares with real clips.
        better: "lower", "higher", or "floor" if nearer to the real clips' own is better.
        within: the least and the largest that it can be.
        unit: of the value, for a person; "" for none.
        says: what it is, in a line.
        fewest: clips that it takes.
        frames: that a clip must have.
        draws: for its interval; fewer where one takes a second.
        beside: what each clip must have beside it, as its extractor; "" for nothing.
        label: name of the label that each clip must have, which then is the last column of the
            numbers; "" for none.
        takes: fields of `given.Given` that it is called with if they are given.
        needs: those without which it is not defined.
        remark: what a person should know of the samples' numbers, "" for nothing; called as `of`.
    """

    extractor: str
    of: Callable[..., float]
    against_real: bool
    better: str
    says: str
    within: tuple[float, float] = (0.0, math.inf)
    unit: str = ""
    fewest: int = 2
    frames: int = 1
    draws: int = DRAWS
    beside: str = ""
    label: str = ""
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    remark: Callable[..., str] | None = None


FIGURES: dict[str, Figure] = {
    "fvd": Figure(
        extractor="i3d", of=frechet, against_real=True, better="lower",
        says="Fréchet distance of clips, I3D logits (Kinetics-400)", frames=2, remark=few_clips,
    ),
    "kvd": Figure(
        extractor="i3d", of=kernel, against_real=True, better="lower",
        says="kernel distance of clips, I3D logits, without bias", frames=2,
        within=(-math.inf, math.inf),
    ),
    "frechet_lite0": Figure(
        extractor="efficientnet_lite0", of=frechet_of_frames, against_real=True, better="lower",
        says="Fréchet distance of frames, EfficientNet-lite0: like FID, but not FID", draws=40,
        takes=("drawn",), remark=few_frames,
    ),
    "fid": Figure(
        extractor="inception", of=frechet_of_frames, against_real=True, better="lower",
        says="Fréchet distance of frames, Inception-v3 of 2015", draws=40, takes=("drawn",),
        remark=few_frames,
    ),
    "is": Figure(
        extractor="c3d", of=inception, against_real=False, better="higher",
        says="inception score of clips, C3D of UCF-101", frames=16, fewest=2 * SPLITS,
        remark=small_splits,
        within=(1.0, math.inf),
    ),
    "motion_distance": Figure(
        extractor="flow", of=frechet_of_motion, against_real=True, better="lower",
        says="Fréchet distance of statistics of the optical flow", frames=3, remark=few_flows,
    ),
    "warp_error": Figure(
        extractor="flow", of=warp_error, against_real=False, better="floor",
        says="difference of frames from the one before, moved by the optical flow", unit="of 1",
        frames=2,
    ),
    "drift_colour": Figure(
        extractor="look", of=drift("lightness", "red", "yellow"), against_real=False,
        better="floor", says="how far the mean colour goes from first to last quarter",
        unit="CIELAB", frames=4,
    ),
    "drift_sharpness": Figure(
        extractor="look", of=drift("sharpness"), against_real=False, better="floor",
        says="how far the variance of the Laplacian goes from first to last quarter",
        unit="L* squared", frames=4,
    ),
    "flicker": Figure(
        extractor="motion", of=motion("flicker"), against_real=False, better="floor",
        says="change that no motion of blocks explains", unit="of 1", frames=2,
    ),
    "motion": Figure(
        extractor="motion", of=motion("motion"), against_real=False, better="floor",
        says="mean displacement of textured blocks", unit="pixels a frame", frames=2,
    ),
    "change": Figure(
        extractor="motion", of=motion("change"), against_real=False, better="floor",
        says="mean difference of consecutive frames", unit="of 1", frames=2,
    ),
    "agreement_night": Figure(
        extractor="detector", of=night_agreement, against_real=False, better="higher",
        says="share of clips that are by day or night as asked, by the driving detector",
        unit="of 1", label=NIGHT,
        within=(0.0, 1.0),
    ),
    "agreement_cars": Figure(
        extractor="detector", of=cars_apart, against_real=False, better="lower",
        says="mean difference of the cars of a clip from those asked for, by the driving detector",
        unit="cars", label=CARS,
    ),
    "agreement_cars_order": Figure(
        extractor="detector", of=cars_order, against_real=False, better="higher",
        says="rank correlation of the cars of clips with those asked for, by the driving detector",
        label=CARS, fewest=3,
        within=(-1.0, 1.0),
    ),
    "agreement_boxes": Figure(
        extractor="boxes", of=boxes_found, against_real=False, better="higher", beside=BOXES,
        says="share of the boxes asked for that a detected one overlaps by 0.3, driving detector",
        unit="of 1", draws=40, within=(0.0, 1.0),
    ),
    "agreement_boxes_shuffled": Figure(
        extractor="boxes", of=boxes_of_others, against_real=False, better="floor", beside=BOXES,
        says="the same of the boxes that other clips were asked for: what chance gives",
        unit="of 1", draws=40, within=(0.0, 1.0),
    ),
    "seam_time": Figure(
        extractor="flow", of=seam_in_time, against_real=False, better="floor", frames=3,
        says="warp error where chunks meet over that elsewhere", needs=("borders",),
    ),
    "seam_space": Figure(
        extractor="lines", of=seam_in_space, against_real=False, better="floor",
        says="jump where tiles meet over that of lines near", needs=("tiles",),
    ),
    "clipsim": Figure(
        extractor="clip", of=clipsim, against_real=False, better="higher", beside=CAPTION,
        says="cosine of frames and their caption, CLIP",
        within=(-1.0, 1.0),
    ),
    "psnr": Figure(
        extractor="squared_error", of=psnr, against_real=False, better="higher", unit="dB",
        beside=REFERENCE, says="peak signal to noise of frames against originals",
        remark=equal_frames,
        within=(-math.inf, math.inf),
    ),
    "flicker_pairs": Figure(
        extractor="error_change", of=mean, against_real=False, better="lower", unit="of 1",
        beside=REFERENCE, says="change of the error from frame to frame, against originals",
        frames=2,
    ),
    "ssim": Figure(
        extractor="ssim", of=mean, against_real=False, better="higher", beside=REFERENCE,
        says="structural similarity of frames to originals",
        within=(-1.0, 1.0),
    ),
    "lpips": Figure(
        extractor="lpips", of=mean, against_real=False, better="lower", beside=REFERENCE,
        says="LPIPS of frames to originals, AlexNet",
    ),
}  # fmt: skip
DEFAULT = (
    "fvd", "kvd", "frechet_lite0", "motion_distance", "warp_error", "flicker", "motion",
)  # fmt: skip
