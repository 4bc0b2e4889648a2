"""Interpolation held against the clips that it is given the ends of, and its baselines."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import leave, random_clips

sys.path.insert(0, str(Path(__file__).parents[1] / "evals"))

from shifted_textures import flow_params

from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.sampling.inbetween import PIXELS, InBetween
from vldm_jax.stages.samples import check_lengths, has, kept_samples, real_clips
from vldm_jax.stages.table import make_stage
from vldm_jax.stages.video import BASELINES

CONTEXT = {"kind": "context_frames", "channels": 4}
PAIRS = ("psnr", "flicker_pairs")


@pytest.fixture(autouse=True)
def _source(monkeypatch):
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))


@pytest.fixture
def interpolation(video):
    """Make a config of a small model of 5 frames that is given the ends."""

    def make(given=(0, 4), frames=5, method="denoise"):
        config = video(data={"kind": "random", "num_frames": frames})
        with config.unlocked():
            config.model.network.more_conditions = (CONTEXT,)
            config.objective.given = ((1.0, (0, frames - 1)),)
            config.sampling.given, config.sampling.method = given, method
        return config

    return make


def figures_of(real, made, names=("psnr",)):
    """Return the figures of samples (b t h w 3), and the sets."""
    sets = real.sets(array_clips(made, 7.5), {})
    found = compare(sets.compared, names, extractors=make_extractors(names, {}), cache=None, seed=0)
    return {name: found.figures[name]["value"] for name in names}, sets


@pytest.mark.parametrize(
    ("given", "compared"),
    [((0, 4), (1, 2, 3)), ((4, 2, 0), (1, 3)), ((0, 1), ()), ((4,), ()), ((), ())],
)
def test_frames_are_compared_where_both_ends_are_given_and_they_are_not(
    interpolation, given, compared
):
    stage = make_stage(interpolation(given))
    assert stage.compared == compared and has(stage) == (("reference",) if compared else ())
    real = real_clips(stage, clips=2, seed=0)
    made = np.zeros((2, 5, 8, 8, 3), np.uint8)
    sets = real.sets(array_clips(made, 7.5), {}).compared
    assert ("reference" in sets) == bool(compared)
    assert ("compared_frames" in real.recipe) == bool(compared)
    if compared:
        assert real.recipe["compared_frames"] == list(compared)


def test_given_frames_are_not_in_the_figure(interpolation):
    """Whoever copies them, and whoever spoils them, has the PSNR of the frames between."""
    real = real_clips(make_stage(interpolation()), clips=3, seed=0)
    clips = np.stack([real.real.read(i) for i in range(3)])
    rng = np.random.default_rng(0)
    between = rng.integers(0, 256, clips.shape, dtype=np.uint8)
    copied, spoilt = between.copy(), between.copy()
    copied[:, [0, 4]] = clips[:, [0, 4]]
    spoilt[:, [0, 4]] = 255 - clips[:, [0, 4]]
    for name in PAIRS:
        (one, sets), (other, _) = (figures_of(real, made, (name,)) for made in (copied, spoilt))
        assert one == other
        assert sets.samples.shape == (5, 8, 8)  # figures of distributions see whole clips
    apart = (between[:, 1:4].astype(float) - clips[:, 1:4]) / 255
    expected = -10 * np.log10(np.square(apart).mean((2, 3, 4)))
    np.testing.assert_allclose(figures_of(real, copied)[0]["psnr"], expected.mean(), rtol=1e-5)


def test_a_perfect_interpolation_is_equal_to_its_clips(interpolation):
    real = real_clips(make_stage(interpolation()), clips=2, seed=0)
    clips = np.stack([real.real.read(i) for i in range(2)])
    assert figures_of(real, clips)[0]["psnr"] == np.inf


def test_a_figure_of_more_frames_than_are_compared_is_refused_before_samples(interpolation):
    stage = make_stage(interpolation((0, 2), frames=3))
    check_lengths(("psnr", "flicker"), stage)
    with pytest.raises(InputError, match="flicker_pairs takes clips of at least 2 .* these have 1"):
        check_lengths(("psnr", "flicker_pairs"), stage)


def kept(config, tmp_path):
    """Return the samples of a stage that was trained as `config`, and the real clips."""
    leave(config, tmp_path / "trained.safetensors")
    stage = make_stage(config)
    params, files = stage.load(str(tmp_path / "trained.safetensors"))
    real = real_clips(stage, clips=2, seed=0)
    samples, made_with = kept_samples(stage, params, files, real.asked(stage), tmp_path / "s")
    return np.stack(list(samples)), real, made_with, params


def test_the_average_is_a_way_to_sample_the_same_stage(interpolation, tmp_path):
    made, real, made_with, params = kept(interpolation(method="average"), tmp_path)
    clips = np.stack([real.real.read(i) for i in range(2)]).astype(float)
    np.testing.assert_array_equal(made[:, [0, 4]], clips[:, [0, 4]])
    np.testing.assert_allclose(made[:, 2], (clips[:, 0] + clips[:, 4]) / 2, atol=0.51)
    assert made_with["sampling"]["method"] == "average" and "rife" not in params


@pytest.mark.slow
def test_the_middle_frames_of_rife_are_a_way_to_sample_it_too(interpolation, tmp_path):
    """RIFE's network is among the parameters."""
    flow_params()
    made, real, _, params = kept(interpolation(method="rife"), tmp_path)
    assert "block_0" in params["rife"] and made.shape == (2, 5, 8, 8, 3)
    np.testing.assert_array_equal(made[0, 0], real.real.read(0)[0])
    assert made[:, 1:4].std() > 1


def square(places):
    """A clip uint8 (1 t h w 3) of a bright square on a dark ground, at columns `places`."""
    video = np.full((1, len(places), 32, 64, 3), 40, np.uint8)
    for frame, place in enumerate(places):
        video[0, frame, 10:22, place : place + 12] = 200
    return video


@pytest.mark.slow
def test_rife_moves_a_square_that_the_average_shows_twice():
    """At each of the three times between, and in the middle least of all by chance."""
    video = square([16, 18, 20, 22, 24])
    errors = {}
    for name, params in (("average", {}), ("rife", {"rife": flow_params()})):
        maker = InBetween(middle=BASELINES[name])
        made = maker(params, jax.random.key(0), jnp.arange(1), {PIXELS: jnp.asarray(video)})
        errors[name] = np.square(np.asarray(made, float) - video)[0].mean((1, 2, 3))
        assert (errors[name][[0, 4]] == 0).all() and (errors[name][1:4] > 0).all()
    assert (errors["rife"][1:4] < 0.25 * errors["average"][1:4]).all(), errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "nearest"}, "method='nearest': choose one of denoise, average, rife"),
        ({"method": "average", "given": ()}, r"given=\(\): set that to \(0, 4\), or the method"),
        ({"method": "rife", "given": (0, 1)}, r"given=\(0, 1\): set that to \(0, 4\)"),
        ({"method": "rife", "given": (0, 2, 4)}, r"given=\(0, 2, 4\): set that to \(0, 4\)"),
    ],
)
def test_methods_that_cannot_be_are_refused(interpolation, changes, message):
    with pytest.raises(InputError, match=f"config.sampling.{message}"):
        make_stage(interpolation(**changes))


def test_samples_of_no_clip_are_refused_before_a_folder_is_written(interpolation):
    for method in ("denoise", "average"):
        stage = make_stage(interpolation(method=method))
        with pytest.raises(InputError, match="there is no clip to take these frames of"):
            stage.describe(stage.request(2))


def test_a_folder_is_of_the_frames_that_were_given(interpolation):
    stage = make_stage(interpolation())
    asked, _ = real_clips(stage, clips=2, seed=0).asked(stage)
    told = stage.describe(asked)
    assert len(told["given_sha256"]) == 64
    for frame, same in ((1, True), (4, False)):
        changed = asked[PIXELS].copy()
        changed[:, frame] = 0
        assert (stage.describe({**asked, PIXELS: changed}) == told) == same
