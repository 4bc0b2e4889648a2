"""An image model that is told boxes: trained, started from one that was not, asked for boxes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import CONFIGS, Clips, config_of, leave, random_clips

from vldm_jax.checkpoint.weights import load_weights
from vldm_jax.cli.flags import load_config
from vldm_jax.cli.sample import sample
from vldm_jax.cli.train import train
from vldm_jax.config.data import CLIPS, SOURCES, Row
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.sampling.sampler import Sampler
from vldm_jax.stages.asking import OF_REAL
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.samples import has, real_clips, write_samples
from vldm_jax.stages.table import make_stage

ROWS = 4
ONE, OTHER = (0.1, 0.5, 0.3, 0.7), (0.6, 0.5, 0.7, 0.6)


class Boxed(Clips):
    """Random images with as many boxes as their number says, three at most."""

    def __getitem__(self, key):
        is_box = np.arange(ROWS) < key % 4
        corners = np.random.default_rng(int(key)).uniform(0, 0.5, (ROWS, 2))
        boxes = np.concatenate([corners, corners + 0.4], 1).astype(np.float32)
        told = {"boxes": np.where(is_box[:, None], boxes, np.float32(0)), "is_box": is_box}
        return super().__getitem__(key) | told


def boxed_clips(path, *, num_frames, fps, **rest):
    return Boxed(num_frames, fps=fps)


@pytest.fixture
def boxes(world, monkeypatch):
    """Make a config of the image stage with boxes on the world's autoencoder."""
    brings = (*CLIPS, "boxes", "is_box")
    monkeypatch.setitem(SOURCES, "boxed", Row(boxed_clips, brings=brings))

    def make(model=(), **sections):
        model = {"autoencoder": world["autoencoder"], "init": None} | dict(model)
        sections["data"] = {"kind": "boxed"} | sections.get("data", {})
        return config_of("boxes", model=model, **sections)

    return make


def batch_of(stage, count=4):
    examples = [Boxed()[i] for i in range(count)]
    return {key: jnp.stack([jnp.asarray(e[key]) for e in examples]) for key in stage.needs}


def test_the_loss_reaches_every_parameter_and_needs_the_boxes_of_the_data(boxes):
    """Traced, not run."""
    stage = make_stage(boxes())
    assert stage.needs == ("image", "labels", "boxes")
    given = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, stage.given()))

    def loss(params, given, batch, key):
        return stage.loss(params | given, batch, key, 0)

    key = jax.eval_shape(lambda: jax.random.key(0))
    gradient, _ = jax.eval_shape(
        jax.grad(loss, has_aux=True), stage.shapes(), given, batch_of(stage), key
    )
    assert gradient == stage.shapes()
    assert any("condition_boxes" in path for path in make_plan(boxes()).trained)


def test_training_starts_from_an_image_model_without_boxes(boxes, world, capsys):
    stage = make_stage(boxes(model={"init": world["image"]}))
    before = flatten(load_weights(world["image"])[0])
    start = flatten(stage.init(jax.random.key(0))["network"])
    fresh = start.keys() - before.keys()
    assert fresh and all(path.startswith("condition_boxes/") for path in fresh)
    assert before.keys() <= start.keys()
    for path, leaf in before.items():
        np.testing.assert_array_equal(start[path], np.asarray(leaf, np.float32), err_msg=path)
    said = capsys.readouterr().out
    assert all(path in said for path in fresh)


def test_samples_ask_for_boxes_in_turn(boxes):
    stage = make_stage(boxes(sampling={"boxes": (((ONE,)), (), None), "labels": ()}))
    told = stage.request(4)
    assert told["boxes"].shape == (4, 32, 4)
    lines = stage.captions(told)
    assert lines[0] == lines[3] == "night any, cars any, boxes 0.1,0.5,0.3,0.7"
    assert [line.split(", ", 2)[2] for line in lines[1:3]] == ["no boxes", "boxes any"]
    assert stage.describe(told)["boxes"] == [[list(ONE)], [], None, [list(ONE)]]


def test_samples_are_guided_away_from_unknown_boxes_and_labels(boxes):
    stage = make_stage(boxes(sampling={"boxes": (ONE,), "guidance": 2.0}))
    (guidance,) = stage.guidance
    assert set(guidance.keys) == {"labels", "boxes"} and guidance.scale == 2.0
    away = stage.sampler().drop(stage.request(2), guidance.keys)
    assert all(np.isnan(away[key]).all() for key in guidance.keys)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((ONE, (0.5, 0.5, 1.2, 0.6)), "the box 0.5,0.5,1.2,0.6 leaves the image"),
        (((0.3, 0.5, 0.1, 0.7),), "has no area"),
        ((ONE,) * 33, "asks for 33 boxes in one image, the network takes at most 32"),
        ((0.1, 0.2, 0.3, 0.4), "must be boxes"),
    ],
)
def test_what_cannot_be_asked_for_is_said_with_the_config(boxes, asked, message):
    with pytest.raises(InputError, match=f"config.sampling.boxes.*{message}"):
        make_stage(boxes(sampling={"boxes": asked}))


def test_a_network_without_boxes_is_asked_for_none(image):
    config = image()
    with config.unlocked():
        config.sampling.boxes = (ONE,)
    assert "boxes" not in make_stage(config).request(1)


def test_an_evaluation_asks_for_the_boxes_of_the_real_clips(boxes):
    stage = make_stage(boxes())
    real = real_clips(stage, clips=4, seed=0)
    assert real.recipe["conditions"] == OF_REAL
    told, count = real.asked(stage)
    numbers = [int(number) for number in real.numbers]
    assert count == 4
    np.testing.assert_array_equal(told["boxes"], [Boxed()[i]["boxes"] for i in numbers])


def test_samples_and_real_clips_have_their_boxes_beside_them(boxes, image, tmp_path, monkeypatch):
    """For figures of agreement: real clips those that they show, samples those asked for."""

    def black(self, params, key, index, cond, size):
        yield np.zeros((len(index), 1, 8, 8, 3), np.uint8)

    monkeypatch.setattr(Sampler, "in_batches", black)
    stage = make_stage(boxes())
    assert has(stage) == ("boxes",) and has(make_stage(image())) == ()
    real = real_clips(stage, clips=3, seed=0)
    samples = write_samples(stage, stage.sampler(), {}, real.asked(stage), tmp_path)
    sets = real.sets(samples, {}).compared
    assert sets.keys() == {"", "boxes"}
    for i, number in enumerate(real.numbers):
        expected = Boxed()[int(number)]["boxes"]
        np.testing.assert_array_equal(sets["boxes"].samples.beside["boxes"](i), expected)
        np.testing.assert_array_equal(sets["boxes"].real.beside["boxes"](i), expected)
    assert sets["boxes"].others.count == 3


def test_samples_are_shown_again_with_the_boxes_that_were_asked_for(boxes, image, monkeypatch):
    grey = np.full((3, 1, 8, 8, 3), 90, np.uint8)
    monkeypatch.setattr(DenoisingStage, "preview", lambda *_: grey)
    stage = make_stage(boxes(sampling={"boxes": (((0.25, 0.5, 0.75, 1.0),), (), None)}))
    frames = stage.preview({}, Boxed(), 3)
    assert frames.shape == (3, 2, 256, 256, 3)
    np.testing.assert_array_equal(frames[:, 0], 90)
    yellow = (frames[:, 1] != 90).any(-1)
    rows, columns = np.nonzero(yellow[0])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (64, 128, 192, 256)
    assert not yellow[1:].any()
    plain = make_stage(image())
    np.testing.assert_array_equal(plain.preview({}, Clips(), 3), grey)


@pytest.mark.slow
def test_a_model_is_trained_and_sampled_with_boxes(boxes, tmp_path, capsys):
    """The loss falls on random images, and a sample says what it was asked for."""
    config = boxes(
        train={"batch_size": 4, "total_steps": 2, "log_every": 1, "sample_every": 2},
        sampling={"boxes": (ONE, OTHER), "labels": (), "num_videos": 2, "batch_size": 2},
    )
    state = train(config, tmp_path / "run")
    before = flatten(make_stage(config).init(jax.random.key(0)))
    moved = flatten(state.params)
    names = [path for path in moved if "condition_boxes" in path]
    assert any(np.abs(moved[path] - before[path]).max() > 0 for path in names)
    assert (tmp_path / "run" / "samples" / "00000002.png").exists()
    sample(config, str(tmp_path / "run" / "weights.safetensors"), tmp_path / "out")
    about = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert about["complete"] and about["boxes"] == [[list(ONE), list(OTHER)]] * 2
    assert (tmp_path / "out" / "contact_sheet.png").exists()


def test_boxes_change_a_sample_and_their_order_does_not(boxes, tmp_path):
    config = boxes(sampling={"boxes": (ONE,), "labels": ()})
    leave(config, tmp_path / "boxes.safetensors", source=Boxed())
    stage = make_stage(config)
    params, _ = stage.load(str(tmp_path / "boxes.safetensors"))
    latents = jax.jit(stage.sampler().latents)

    def made(value):
        rows = stage.conditions[-1].rows(value, "boxes")
        cond = stage.request(1) | {"boxes": rows}
        cond = {key: jnp.asarray(v) for key, v in cond.items()}
        return np.asarray(latents(params, jax.random.key(0), jnp.arange(1), cond))

    base = made((ONE, OTHER))
    np.testing.assert_allclose(made((OTHER, ONE)), base, atol=1e-5)
    assert np.abs(made((ONE,)) - base).max() > 1e-4
    assert np.abs(made(None) - made(())).max() > 1e-4


def test_an_upsampler_sees_patches_which_no_boxes_are_of():
    config = load_config(f"{CONFIGS / 'driving' / 'upsampler.py'}:tiny")
    with config.unlocked():
        network = config.model.network
        network.more_conditions = (*network.more_conditions, {"kind": "boxes"})
        network.context_dim, network.attention = 8, (False, True)
        config.sampling.boxes = None
    with pytest.raises(InputError, match="boxes are of a whole image, an upsampler sees patches"):
        make_stage(config)


def test_data_without_boxes_is_refused_before_it_is_read(boxes, monkeypatch):
    monkeypatch.setitem(SOURCES, "random", Row(random_clips))
    stage = make_stage(boxes(data={"kind": "random"}))
    with pytest.raises(InputError, match="kind='random' brings no 'boxes', which this stage"):
        stage.check_data()
