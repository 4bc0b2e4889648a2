"""Figures of rows are those of the clips that the rows are of."""

import numpy as np
import pytest
from shifted_textures import flow_params, moving

from vldm_jax.evals import measures
from vldm_jax.evals.figures import FIGURES
from vldm_jax.evals.flow_rows import flow_rows, parts_of
from vldm_jax.evals.flow_statistics import flow_features
from vldm_jax.evals.given import Borders, Tiles
from vldm_jax.evals.image_quality import psnr, squared_errors
from vldm_jax.evals.likeness import by_value
from vldm_jax.evals.of_rows import (
    equal_frames,
    few_clips,
    few_flows,
    few_frames,
    inception,
    small_splits,
)
from vldm_jax.evals.of_rows import psnr as psnr_of_rows
from vldm_jax.evals.report import number
from vldm_jax.evals.seams import seam_ratio_in_space, time_ratio
from vldm_jax.evals.value import evaluate
from vldm_jax.evals.warp import warp_errors

RANDOM = np.random.default_rng(0)


@pytest.mark.slow
def test_one_pair_of_flows_serves_errors_and_statistics():
    params = flow_params()
    clips = np.concatenate([moving([(2 * n, 0) for n in range(3)]), moving([(0, 0)] * 3, seed=1)])
    rows = flow_rows(params, clips)
    parts, errors = parts_of(rows), warp_errors(params, clips)
    np.testing.assert_allclose(parts.visible, errors.visible * errors.share, atol=1e-6)
    np.testing.assert_allclose(parts.share, errors.share, atol=1e-6)
    np.testing.assert_allclose(parts.everywhere, errors.everywhere, atol=1e-6)
    np.testing.assert_allclose(parts.statistics, flow_features(params, clips), atol=1e-3)
    borders = Borders(listed=(2,)).fixed(2, clips.shape[1:4])
    of = {"borders": borders}
    seam = evaluate(FIGURES["seam_time"], rows[:, None], None, None, settings=of)
    assert seam.value == pytest.approx(time_ratio(errors.everywhere, (2,)), rel=1e-4)
    warp = evaluate(FIGURES["warp_error"], rows[:, None], None, None, settings={})
    assert warp.value == pytest.approx(errors.mean(), rel=1e-4)
    assert (seam.floor, seam.floor_interval, warp.floor) == (None, None, None)


def test_a_clip_of_two_frames_has_errors():
    rows = flow_rows(flow_params(), moving([(0, 0), (2, 0)]))
    assert rows.shape == (1, 3 + 29) and np.isfinite(rows).all()
    assert parts_of(rows).statistics[0, -1] == 0


@pytest.mark.parametrize("size", [(32, 48), (48, 32), (32, 32)])
def test_seams_in_space_are_those_of_the_videos(size):
    videos = RANDOM.integers(0, 256, (3, 2, *size, 3), np.uint8)
    videos[:, :, 16:] //= 2
    rows = measures.lines(None).compute(videos).astype(np.float32)
    # Borders near the end of the shorter side, where its row of numbers is filled up.
    settings = {"tiles": Tiles(height=27, width=27).fixed(3, videos.shape[1:4])}
    found = evaluate(FIGURES["seam_space"], rows, None, rows, settings=settings)
    expected = seam_ratio_in_space(videos, **settings["tiles"])
    assert found.value == pytest.approx(expected, rel=1e-5) and found.floor == found.value


def test_psnr_of_rows_is_that_of_clips():
    x, y = RANDOM.integers(0, 256, (2, 4, 3, 8, 8, 3), np.uint8)
    rows = squared_errors(x, y)[..., None]
    assert psnr_of_rows(rows) == pytest.approx(psnr(x, y).mean())


def test_frames_without_a_psnr_are_left_out_and_said():
    x, y = RANDOM.integers(0, 256, (2, 4, 3, 8, 8, 3), np.uint8)
    alone = psnr(x[1:], y[1:]).mean()
    y[0] = x[0]
    rows = np.float32(squared_errors(x, y)[..., None])
    assert psnr_of_rows(rows) == pytest.approx(alone, rel=1e-5)
    assert equal_frames(rows) == "3 of 12 frames equal their originals: left out"
    assert equal_frames(rows[1:]) == ""
    assert psnr_of_rows(rows[:1]) == np.inf
    assert equal_frames(rows[:1]) == "3 of 3 frames equal their originals"
    assert evaluate(FIGURES["psnr"], rows[:1], None, None, settings={}).interval == (np.inf, np.inf)
    order, values = by_value(FIGURES["psnr"], rows[::-1], {})
    assert order[0] == 3 and values[3] == np.inf and np.isfinite(values[:3]).all()
    assert number(values[3]) == "equal"
    # Draws of the first clip alone have no PSNR; the others make the interval.
    low, high = evaluate(FIGURES["psnr"], rows[:2], None, None, settings={}).interval
    assert np.isfinite([low, high]).all()


def test_the_best_clips_there_can_be_score_no_more_than_a_split_has_and_that_is_said():
    sure = 500.0 * np.eye(101, dtype=np.float32)[:, None]  # every class, and no doubt
    assert inception(sure[:30]) == pytest.approx(3.0)
    assert small_splits(sure[:30]).startswith("10 splits of 3 clips each, so no score is above 3")
    assert small_splits(np.zeros((1010, 1, 101), np.float32)) == ""
    assert FIGURES["is"].fewest > 10 and inception(sure[:10]) == 1.0  # of one clip a split: never


def test_too_few_clips_for_a_covariance_are_said():
    rows = np.zeros((30, 1, 30), np.float32)
    assert few_clips(rows).startswith("30 clips for the covariance of 30 numbers")
    assert few_clips(np.zeros((31, 1, 30), np.float32)) == ""
    frames = np.zeros((30, 4, 30), np.float32)
    assert few_frames(frames) == ""
    assert few_frames(frames, {"frames": 9, "seed": 0}).startswith("9 frames for the covariance")
    assert few_flows(rows) == "" and few_flows(rows[:29]).startswith("29 clips")
