"""A stack makes a video: lengths, what is given stays, seeds, stopping and going on."""

import dataclasses

import av
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json
from vldm_jax.core.rng import stream
from vldm_jax.data.write import write_video
from vldm_jax.sampling.decoding import InParts
from vldm_jax.stack import between, film, keyframes, run
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.pixels import Decoder
from vldm_jax.stack.plan import about
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.request import Request, parse_labels, read_context
from vldm_jax.stack.run import run_stack, stack_film

SECONDS = 5.0  # 10 key frames, 150 frames


@pytest.fixture
def plan(parts):
    return make_stack_plan(list(parts.values()), SECONDS)


def asking(**fields):
    usual = {"labels": ({"night": 1.0},), "context": None, "futures": 1, "seed": 0}
    return Request(**usual | fields)


def frames_of(path):
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]), rate


def latents_of(out, name):
    reel = Reel(out / "latents" / name)
    return np.asarray(reel.between(0, len(reel)))


@pytest.fixture(scope="module")
def made(parts, tmp_path_factory):
    """A video and its folder."""
    out = tmp_path_factory.mktemp("video") / "out"
    plan = make_stack_plan(list(parts.values()), SECONDS)
    run_stack(plan, asking(), out, preview=True)
    return out


def test_a_video_has_the_length_that_was_asked_for(made):
    frames, rate = frames_of(made / "0000.mp4")
    assert frames.shape == (150, 8, 8, 3) and rate == pytest.approx(30.0)
    assert frames_of(made / "preview.mp4")[0].shape[0] == 11
    about = read_json(made / "metadata.json", "metadata")
    assert about["complete"] and about["frames"] == 150 and about["labels"] == {"night": 1.0}
    assert (made / "contact_sheet.png").exists()
    assert not list(made.glob("0000.*.mp4"))  # segments


def test_key_frames_are_among_the_frames_exactly(made):
    """What a round of interpolation is given comes out as it came in."""
    keys = latents_of(made, "prediction")
    fine = [latents_of(made, f"interpolation_{i}") for i in (1, 2)]
    assert keys.shape[1] == 11 and [z.shape[1] for z in fine] == [41, 161]
    np.testing.assert_array_equal(fine[0][:, ::4], keys)
    np.testing.assert_array_equal(fine[1][:, ::4], fine[0])


@pytest.mark.slow
def test_a_seed_is_a_video_whatever_is_made_at_once(made, plan, tmp_path, monkeypatch):
    """Other numbers of windows and gaps in a call: the same latents, to rounding."""
    monkeypatch.setattr(keyframes, "WINDOWS", 1)
    monkeypatch.setattr(between, "GAPS", 3)
    run_stack(plan, asking(), tmp_path / "out")
    for name in ("prediction", "interpolation_1", "interpolation_2"):
        one, other = latents_of(made, name), latents_of(tmp_path / "out", name)
        np.testing.assert_allclose(one, other, atol=2e-4)
    run_stack(plan, asking(seed=1), tmp_path / "other")
    assert (
        np.abs(latents_of(tmp_path / "other", "prediction") - latents_of(made, "prediction")).max()
        > 0.1
    )


def test_no_two_windows_and_no_two_videos_draw_the_same_noise(plan, tmp_path, monkeypatch):
    """Of networks that are zero, what is made is the noise."""
    read = keyframes.read

    def zeros(part):
        params, files = read(part)
        return jax.tree.map(jnp.zeros_like, params), files

    for module in (keyframes, run):
        monkeypatch.setattr(module, "read", zeros)
    run_stack(plan, asking(futures=2), tmp_path / "out", until="interpolation 2")
    for name, own in (("prediction", 11), ("interpolation_2", 41)):
        z = latents_of(tmp_path / "out", name).reshape(2, 4 * own - 3 if "_" in name else own, -1)
        frames = np.concatenate([z[0], z[1, 1:]])  # futures have the first frame in common
        apart = np.abs(frames[:, None] - frames[None]).max(-1) + np.eye(len(frames))
        assert apart.min() > 0.1, name


class Stop(Exception):
    """A run is killed."""


@pytest.mark.parametrize("after", [pytest.param(2, marks=pytest.mark.slow), 5, 9])
def test_a_run_that_was_stopped_goes_on_and_leaves_the_same_bytes(
    made, plan, tmp_path, monkeypatch, after
):
    """Stopped after a piece of key frames, of a round, of the next."""
    pieces, append = [], Reel.append

    def stopping(self, z):
        if len(pieces) == after:
            raise Stop
        pieces.append(z.shape)
        append(self, z)

    monkeypatch.setattr(Reel, "append", stopping)
    with pytest.raises(Stop):
        run_stack(plan, asking(), tmp_path / "out")
    assert not read_json(tmp_path / "out" / "metadata.json", "metadata")["complete"]
    monkeypatch.setattr(Reel, "append", append)
    run_stack(plan, asking(), tmp_path / "out")
    assert (tmp_path / "out" / "0000.mp4").read_bytes() == (made / "0000.mp4").read_bytes()


def test_a_video_stopped_between_segments_is_joined_the_same(made, plan, tmp_path, monkeypatch):
    monkeypatch.setattr(film, "SEGMENT", 64)
    run_stack(plan, asking(), tmp_path / "whole")
    write, written = run.write_film, []

    def stopping(*args):
        *args, said = args

        def counted(count):
            if len(written) == 1:
                raise Stop
            written.append(count)
            said(count)

        write(*args, counted)

    monkeypatch.setattr(run, "write_film", stopping)
    with pytest.raises(Stop):
        run_stack(plan, asking(), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("0000.*.mp4"))) == 2
    monkeypatch.setattr(run, "write_film", write)
    run_stack(plan, asking(), tmp_path / "out")
    one, other = (tmp_path / name / "0000.mp4" for name in ("whole", "out"))
    assert one.read_bytes() == other.read_bytes()
    assert len(frames_of(one)[0]) == 150


def context(value=0, count=2):
    return np.full((count, 8, 8, 3), value, np.uint8)


def test_the_folder_of_another_video_is_refused(made, plan):
    for other in (asking(seed=5), asking(labels=({},)), asking(context=context())):
        with pytest.raises(InputError, match="exists|holds|empty"):
            run_stack(plan, other, made)


def test_a_folder_knows_the_pixels_that_its_video_began_with(parts, tmp_path):
    plan = make_stack_plan([parts["prediction"]], 2.0)
    run_stack(plan, asking(context=context(0)), tmp_path / "out")
    run_stack(plan, asking(context=context(0)), tmp_path / "out")
    with pytest.raises(InputError, match="exists|holds|empty"):
        run_stack(plan, asking(context=context(200)), tmp_path / "out")


def test_a_folder_knows_all_files_that_its_video_is_made_with(plan):
    told = about(plan)
    files = {name: set(part["weights_sha256"]) for name, part in told.items()}
    video = {"autoencoder", "backbone", "weights"}
    assert files["image"] == {"autoencoder", "weights"}
    assert files["prediction"] == files["interpolation 1"] == video
    assert told["prediction"]["frames"] == 4 and told["prediction"]["temporal"]["mix"]


def test_a_video_that_is_complete_stays_so(made, plan):
    run_stack(plan, asking(), made, until="prediction")
    assert read_json(made / "metadata.json", "")["complete"]
    (made / "0000.prediction.mp4").unlink()


KEPT = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_compilation_cache_dir": None}


@pytest.fixture
def kept(tmp_path):
    """A folder in which jax keeps every program that it compiles."""
    before = {name: getattr(jax.config, name) for name in KEPT}
    for name, value in {**KEPT, "jax_compilation_cache_dir": str(tmp_path / "kept")}.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path / "kept"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.mark.slow
def test_a_longer_video_of_another_seed_compiles_no_part_anew(parts, tmp_path, kept):
    found = []
    for seconds, seed in ((5.0, 0), (9.0, 1)):
        plan = make_stack_plan(list(parts.values()), seconds)
        run_stack(plan, asking(seed=seed), tmp_path / f"{seed}")
        large = ("jit_rolled", "jit_filled", "jit_pixels")
        found.append({file.name for file in kept.iterdir() if file.name.startswith(large)})
    assert len(found[0]) >= 4 and found[0] == found[1]


def test_futures_begin_alike_and_go_apart(parts, tmp_path):
    plan = make_stack_plan(list(parts.values()), SECONDS)
    run_stack(plan, asking(futures=3), tmp_path / "out", until="prediction")
    z = latents_of(tmp_path / "out", "prediction")
    for other in (1, 2):
        np.testing.assert_array_equal(z[0, 0], z[other, 0])
        assert np.abs(z[0, 1:] - z[other, 1:]).max() > 0.1
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 3


def test_a_context_begins_the_video(parts, tmp_path):
    plan = make_stack_plan(list(parts.values()), SECONDS)
    context = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    run_stack(plan, asking(context=context), tmp_path / "out", until="prediction")
    z = latents_of(tmp_path / "out", "prediction")
    space, part = plan.prediction.stage.space, plan.prediction
    key = stream(stream(jax.random.key(0), "key frames"), "context")
    batch = {"video": jnp.asarray(context[None])}
    given = space.encode(part.stage.load(part.weights)[0], batch, "video", key)
    np.testing.assert_allclose(z[:, :2], given, atol=1e-5)
    assert z.shape[1] == plan.key_frames


def test_futures_without_an_image_model_have_their_first_frame_in_common(parts, tmp_path):
    plan = make_stack_plan([parts["prediction"]], SECONDS)
    run_stack(plan, asking(futures=3), tmp_path / "out")
    z = latents_of(tmp_path / "out", "prediction")
    assert z.shape[:2] == (3, 9)
    for other in (1, 2):
        np.testing.assert_array_equal(z[0, 0], z[other, 0])
        assert np.abs(z[0, 1:] - z[other, 1:]).max((1, 2, 3)).min() > 0.1


def test_latents_that_are_not_finite_end_the_part_that_made_them(parts, tmp_path, monkeypatch):
    plan, read = make_stack_plan(list(parts.values()), 1.0), keyframes.read

    def broken(part):
        params, files = read(part)
        return jax.tree.map(lambda leaf: leaf * np.nan, params), files

    monkeypatch.setattr(keyframes, "read", broken)
    with pytest.raises(InputError, match="prediction: frames from 0 on are not finite"):
        run_stack(plan, asking(), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.npy"))


def test_without_an_image_model_the_first_window_is_the_prediction_s(parts, tmp_path):
    plan = make_stack_plan([parts["prediction"]], SECONDS)
    run_stack(plan, asking(), tmp_path / "out")
    pieces = sorted((tmp_path / "out" / "latents" / "prediction").glob("*.npy"))
    assert np.load(pieces[0]).shape[1] == 4  # a window


def test_broken_weights_are_an_error_and_no_black_video(parts, tmp_path, monkeypatch):
    plan = make_stack_plan([parts["prediction"]], 1.0)
    broken = Decoder(lambda p, z: z / 0.0, {}, InParts(frames=8))
    monkeypatch.setattr(run, "decoder_of", lambda plan: broken)
    with pytest.raises(InputError, match="not finite"):
        run_stack(plan, asking(), tmp_path / "out")
    assert not (tmp_path / "out" / "0000.mp4").exists()


def test_a_stack_that_ended_early_goes_on_to_the_same_video(made, plan, tmp_path):
    out = tmp_path / "out"
    run_stack(plan, asking(), out, until="prediction")
    frames, rate = frames_of(out / "0000.prediction.mp4")
    assert (len(frames), rate) == (9, pytest.approx(1.875))
    assert not (out / "0000.mp4").exists() and not read_json(out / "metadata.json", "")["complete"]
    run_stack(plan, asking(), out)
    assert (out / "0000.mp4").read_bytes() == (made / "0000.mp4").read_bytes()


@pytest.mark.parametrize("text", ["night", "night=", "=1", "night=1,night=2", "night=nan"])
def test_labels_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="--labels"):
        parse_labels(text)


@pytest.mark.parametrize(
    ("labels", "message"),
    [({"night": 5.0}, "5 of .* must be 0 or 1"), ({"cars": 500.0}, "must be from 0 to 64")],
)
def test_labels_that_no_training_had_are_refused(parts, labels, message):
    with pytest.raises(InputError, match=message):
        asking(labels=(labels,)).of(parts["prediction"], [0])


def test_labels_are_asked_for_by_name(parts):
    assert parse_labels("night=1, cars=4") == {"night": 1.0, "cars": 4.0}
    part = parts["prediction"]
    request = asking(labels=({"cars": 4.0}, {"night": 0.0}), futures=2)
    rows = request.of(part, range(4))["labels"]
    np.testing.assert_array_equal(rows, [[np.nan, 4]] * 2 + [[0, np.nan]] * 2)
    with pytest.raises(InputError, match="no label 'rain'; it takes night, cars"):
        asking(labels=({"rain": 1.0},)).of(part, [0])


def test_a_label_that_training_never_saw_is_said(parts):
    keys = dataclasses.replace(parts["prediction"])
    plan = make_stack_plan([parts["image"], keys], 1.0)
    assert asking(labels=({"night": 1.0},)).untaught(plan) == []
    meta = {**keys.file.meta, "unknown": {"labels": ["night", "cars"]}}
    vars(keys)["file"] = dataclasses.replace(keys.file, meta=meta)
    (line,) = asking(labels=({"night": 1.0},)).untaught(plan)
    assert line.startswith("labels night were unknown in the training of prediction")
    assert asking(labels=({},)).untaught(plan) == []


def test_what_no_label_says_is_unknown_of_every_video(parts):
    """And not what the configs of the parts ask for in turn."""
    rows = asking(labels=({},), futures=3).of(parts["prediction"], range(3))["labels"]
    assert np.isnan(rows).all()


def test_beginnings_that_are_made_at_once_are_those_made_one_by_one(parts, tmp_path):
    """To rounding: batches of other sizes are other programs."""
    plan = make_stack_plan(list(parts.values()), 2.0)
    labels = ({"night": 1.0}, {"cars": 3.0}, {})
    together = stack_film(plan, asking(labels=labels), tmp_path / "together")
    alone = stack_film(plan, asking(labels=labels[1:2], first=1), tmp_path / "alone")
    one, other = (next(film(video, 0)).astype(int) for film, video in ((together, 1), (alone, 0)))
    assert np.abs(one - other).max() <= 1
    assert np.abs(one - next(together(0, 0)).astype(int)).max() > 10


def test_a_video_to_begin_with_is_one_and_fast_enough(parts, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    write_video(tmp_path / "videos" / "a.mp4", frames, 1.5)
    with pytest.raises(InputError, match="has 1.5 frames a second, the key frames 1.875"):
        read_context(str(tmp_path / "videos" / "a.mp4"), parts["prediction"])
    write_video(tmp_path / "videos" / "b.mp4", frames, 7.5)
    with pytest.raises(InputError, match="holds 2 videos: give one"):
        read_context(str(tmp_path / "videos"), parts["prediction"])
    found, _ = read_context(str(tmp_path / "videos" / "b.mp4"), parts["prediction"])
    assert len(found) == 2


def test_context_files_are_looked_at(parts, tmp_path):
    from PIL import Image

    part = parts["prediction"]
    Image.fromarray(np.full((16, 16, 3), 7, np.uint8)).save(tmp_path / "good.png")
    context, line = read_context(str(tmp_path / "good.png"), part)
    assert context.shape == (1, 8, 8, 3) and (context == 7).all() and "good.png" in line
    Image.fromarray(np.zeros((16, 40, 3), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match="another aspect than 8x8"):
        read_context(str(tmp_path / "wide.png"), part)
    assert read_context(str(tmp_path / "wide.png"), part, crop=True)[0].shape == (1, 8, 8, 3)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="4x4, smaller than"):
        read_context(str(tmp_path / "small.png"), part)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match="text.png cannot be read"):
        read_context(str(tmp_path / "text.png"), part)
