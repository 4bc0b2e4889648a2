"""A stack with a decoder and an upsampler of its own: pixels go on from where they were stopped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_run_stack import Stop, asking, frames_of

from vldm_jax.core.json_files import read_json
from vldm_jax.sampling.bicubic import Bicubic
from vldm_jax.stack import enlarge, film, run
from vldm_jax.stack.enlarge import OfVideo
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.pixels import decoder_of
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.run import run_stack

KEY = jax.random.key(0)
SECONDS = 9.0  # 17 key frames


@pytest.fixture(scope="module")
def plan(parts, pixel_parts):
    return make_stack_plan([parts["prediction"], *pixel_parts.values()], SECONDS)


@pytest.fixture(scope="module")
def made(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("large") / "out"
    with pytest.MonkeyPatch.context() as patch:
        _shorten(patch)
        run_stack(plan, asking(futures=2), out)
    return out


def _shorten(patch):
    patch.setattr(film, "SEGMENT", 7)
    patch.setattr(enlarge, "PIECE", 5)


def test_a_video_is_four_times_as_large_as_what_was_decoded(made, plan):
    frames, rate = frames_of(made / "0001.mp4")
    assert frames.shape == (17, 32, 32, 3) and rate == pytest.approx(1.875)
    low = Reel(made / "frames").between(0, 17)
    assert low.shape == (2, 17, 8, 8, 3) and low.dtype == jnp.uint8
    assert list(read_json(made / "metadata.json", "")["parts"]) == [
        "prediction", "decoder", "upsampler",
    ]  # fmt: skip


def test_pixels_are_those_of_the_temporal_decoder(made, plan):
    latents, low = Reel(made / "latents" / "prediction"), Reel(made / "frames").between(0, 17)
    np.testing.assert_array_equal(decoder_of(plan).frames(latents, 1, 0, 17), low[1])
    alone = decoder_of(plan.until("prediction")).frames(latents, 1, 0, 17)
    assert np.abs(np.int32(alone) - np.int32(low[1])).max() > 1


def stopping(call, after=2):
    """Return a call that is the end of a run when it is made once too often."""
    calls = []

    def counted(*args):
        if len(calls) == after:
            raise Stop
        calls.append(args)
        call(*args)

    return counted


def stop_among_frames(patch):
    keep, append = run.keep_frames, Reel.append

    def kept(*args):
        patch.setattr(Reel, "append", stopping(append))
        keep(*args)

    patch.setattr(run, "keep_frames", kept)


def stop_among_segments(patch):
    patch.setattr(film, "write_video", stopping(film.write_video))


@pytest.mark.parametrize("stop", [stop_among_frames, stop_among_segments])
def test_a_video_that_was_stopped_among_pixels_is_the_same(made, plan, tmp_path, monkeypatch, stop):
    _shorten(monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        stop(patch)
        run_stack(plan, asking(futures=2), tmp_path / "out")
    assert not (tmp_path / "out" / "0000.mp4").exists()
    run_stack(plan, asking(futures=2), tmp_path / "out")
    for file in ("0000.mp4", "0001.mp4"):
        assert (tmp_path / "out" / file).read_bytes() == (made / file).read_bytes()


def test_futures_are_enlarged_apart(made):
    one, other = (frames_of(made / f"000{i}.mp4")[0].astype(int) for i in (0, 1))
    assert np.abs(one - other).max() > 10


def test_the_baseline_is_a_film_as_well():
    low = np.random.default_rng(0).integers(0, 256, (1, 40, 4, 4, 3), dtype=np.uint8)
    index, maker = jnp.arange(1), Bicubic()
    whole, _ = maker.frames({}, KEY, index, {"low_video": jnp.asarray(low)})
    for start in (0, 21):
        parts = list(maker.stream({}, KEY, index, {"low_video": low}, start=start))
        np.testing.assert_array_equal(np.concatenate(parts, 1), whole[:, start:])


def test_frames_of_a_video_are_read_as_an_array_is(tmp_path):
    reel, rng = Reel(tmp_path), np.random.default_rng(0)
    every = rng.integers(0, 256, (2, 11, 2, 2, 3), dtype=np.uint8)
    for start, stop in ((0, 4), (4, 9), (9, 11)):
        reel.append(jnp.asarray(every[:, start:stop]))
    low = OfVideo(reel, 1)
    assert low.shape == every[1:].shape
    np.testing.assert_array_equal(low[:, :6], every[1:, :6])
    which = np.array([7, 8, 9, 10, 9, 8])
    np.testing.assert_array_equal(low[:, which], every[1:, which])
