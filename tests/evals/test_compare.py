"""Figures put known sets in their known order, and say what cannot be compared."""

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.checks import check_alone
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.extractors import EXTRACTORS
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.sets import Compared


def clips(count, seed, frames=6):
    """Pictures of soft spots that move by two pixels a frame."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 255, (count, 16, 24, 3)).repeat(4, axis=1).repeat(4, axis=2)
    shown = [pictures[:, :32, 2 * t : 2 * t + 32] for t in range(frames)]
    return np.stack(shown, axis=1).astype(np.uint8)


REAL, OTHERS = array_clips(clips(24, 0), 8), array_clips(clips(24, 1), 8)
NAMES = ("flicker", "motion", "change", "drift_colour")


def sets_of(samples):
    return {"": Compared(samples=samples, real=REAL, others=OTHERS)}


def found(videos, names=NAMES, **more):
    settings = {"cache": None, "seed": 0} | more
    if "extractors" not in settings:
        settings["extractors"] = make_extractors(names, {})
    return compare(sets_of(array_clips(videos, 8)), names, **settings)


def test_a_frozen_clip_does_not_move_and_a_noisy_one_flickers():
    random = np.random.default_rng(5)
    good = clips(24, 2)
    frozen = np.repeat(good[:, :1], 6, axis=1)
    noisy = np.uint8(np.clip(good + random.normal(0, 20, good.shape), 0, 255))
    values = {
        name: {key: one["value"] for key, one in found(videos).figures.items()}
        for name, videos in {"good": good, "frozen": frozen, "noisy": noisy}.items()
    }
    assert values["frozen"]["motion"] == values["frozen"]["change"] == 0
    assert values["good"]["motion"] == pytest.approx(2, abs=0.6)
    assert values["noisy"]["flicker"] > 5 * values["good"]["flicker"]


def test_the_floor_is_the_figure_of_the_other_real_clips():
    result = found(clips(24, 2))
    extractors = make_extractors(NAMES, {})
    swapped = compare(sets_of(OTHERS), NAMES, extractors=extractors, cache=None, seed=0)
    for name in NAMES:
        assert result.figures[name]["floor"] == swapped.figures[name]["value"]
        low, high = result.figures[name]["interval"]
        assert low <= result.figures[name]["value"] <= high
    assert result.real_sha256 == swapped.real_sha256
    assert result.samples_sha256 != swapped.samples_sha256


def test_a_network_is_run_once_for_all_its_figures(monkeypatch, tmp_path):
    calls = []

    def mean_colour(weights):
        def compute(videos):
            calls.append(len(videos))
            return videos.mean(axis=(1, 2, 3))[:, None].astype(np.float32)

        return Extractor(name="i3d", compute=compute, recipe={"of": "colour"}, batch=8)

    monkeypatch.setitem(EXTRACTORS, "i3d", mean_colour)
    first = found(clips(24, 2), ("fvd", "kvd"), cache=tmp_path)
    assert sum(calls) == 3 * 24
    brighter = found(clips(24, 2) // 2 + 128, ("fvd", "kvd"), cache=tmp_path)
    assert sum(calls) == 4 * 24 and brighter.recalled == 48
    for name in ("fvd", "kvd"):
        assert brighter.figures[name]["value"] > first.figures[name]["value"]
        assert brighter.figures[name]["floor"] == first.figures[name]["floor"]


@pytest.mark.parametrize(
    ("videos", "names", "message"),
    [
        (clips(24, 2, frames=5), NAMES, r"samples are \(5, 32, 32\) .* real clips \(6, 32, 32\)"),
        (
            clips(1, 2),
            NAMES,
            "1 clip: too few for flicker, motion, change, drift_colour, which take 2",
        ),
        (clips(24, 2), ("fwd",), "unknown figure 'fwd'; there are fvd, kvd"),
        (clips(24, 2), (), "no figure is asked for"),
        (clips(24, 2), ("fid",), "no package has the weights of inception: get pt_inception"),
    ],
)
def test_what_cannot_be_compared_is_one_line(videos, names, message):
    with pytest.raises(InputError, match=message):
        found(videos, names)


def test_clips_that_are_too_short_for_a_figure_are_said():
    with pytest.raises(InputError, match="is takes clips of at least 16 frames, these have 6"):
        found(clips(24, 2), ("is",), extractors={})


def test_every_figure_has_an_extractor():
    assert {figure.extractor for figure in FIGURES.values()} <= EXTRACTORS.keys()
    assert {figure.better for figure in FIGURES.values()} == {"lower", "higher", "floor"}


def test_figures_and_their_extractors_take_the_same_beside_a_clip():
    names = [name for name, figure in FIGURES.items() if figure.extractor in ("motion", "look")]
    names += ["psnr", "ssim", "seam_space"]
    for name in names:
        extractor = make_extractors([name], {})[FIGURES[name].extractor]
        assert extractor.beside == FIGURES[name].beside


def test_what_no_clips_are_given_for_is_said():
    with pytest.raises(InputError, match="psnr is of clips with a reference each, and there are"):
        found(clips(24, 2), ("psnr",))
    alone = {"": Compared(samples=array_clips(clips(4, 2), 8))}
    with pytest.raises(InputError, match="fvd compares with real clips, and there are none"):
        compare(alone, ("fvd",), extractors={}, cache=None, seed=0)


def test_figures_of_more_than_clips_are_for_vldm_evaluate():
    check_alone(("fvd", "fid", "flicker"))
    for name, what in (("psnr", "reference"), ("clipsim", "caption"), ("seam_time", "borders")):
        with pytest.raises(InputError, match=f"{name} takes clips with {what}: leave it to vldm"):
            check_alone(("fvd", name))
