"""The detector's stage: trained, gone on with, left and found again, on drawn rectangles."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import CONFIGS, DETECTOR, config_of, leave, overridden

from vldm_jax.checkpoint.weights import load_weights
from vldm_jax.cli.flags import load_config
from vldm_jax.cli.train import train
from vldm_jax.config.data import build_source
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.data.write import write_video
from vldm_jax.interop import load
from vldm_jax.models import table
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.table import make_stage

HEIGHT, WIDTH = 16, 32


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Four videos of a white rectangle on grey, with boxes and labels, as the simulator's."""
    folder = tmp_path_factory.mktemp("boxes")
    columns, labels = {"clip": [], "frame": [], "car": [], "box": []}, {}
    for clip in range(4):
        video = np.full((4, HEIGHT, WIDTH, 3), 40 + 30 * clip, np.uint8)
        for t in range(4):
            x0, y0, x1, y1 = 4 * t, 2 + clip, 4 * t + 10, 8 + clip
            video[t, y0:y1, x0:x1] = 255
            box = np.array([x0 / WIDTH, y0 / HEIGHT, x1 / WIDTH, y1 / HEIGHT])
            for name, value in zip(columns, (clip, t, 0, box), strict=True):
                columns[name].append(value)
        write_video(folder / f"{clip:06d}.mp4", video, 8)
        labels[f"{clip:06d}.mp4"] = [clip % 2, 1]
    np.savez(folder / "boxes.npz", **{name: np.array(v) for name, v in columns.items()})
    (folder / "labels.json").write_text(json.dumps({"names": ["night", "cars"], "clips": labels}))
    return folder


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("autoencoder") / "autoencoder.safetensors"
    leave(config_of("autoencoder"), path)
    return path


@pytest.fixture
def detector(world, autoencoder):
    """Make a tiny config of the stage on the world, with overrides by section."""

    def make(model=(), **sections):
        usual = {
            "data": {"path": world, "height": HEIGHT, "width": WIDTH, "fps": 8.0},
            "model": {"network": DETECTOR, "autoencoder": autoencoder} | dict(model),
            "train": {"batch_size": 4, "total_steps": 4, "log_every": 1, "sample_every": 2},
            "optim": {"schedule": "constant", "warmup_steps": 0},
            "sampling": {"num_videos": 3},
        }
        for name, keys in sections.items():
            usual[name] = usual.get(name, {}) | keys
        return load_config(f"{CONFIGS / 'driving' / 'detector.py'}:tiny", overridden(**usual))

    return make


def test_the_loss_of_the_data_has_a_gradient_of_every_parameter(detector):
    """Traced, not run: a batch of the source goes through autoencoder, detector and loss."""
    config = detector()
    plan = make_plan(config)
    source = build_source(config.data)
    batch = {key: np.stack([source[i][key] for i in range(4)]) for key in plan.stage.needs}
    given = jax.tree.map(jnp.asarray, plan.stage.given())

    def loss(params, batch, key):
        return plan.stage.loss(params | given, batch, key, 0)

    key = jax.eval_shape(lambda: jax.random.key(0))
    gradient, metrics = jax.eval_shape(
        jax.grad(loss, has_aux=True), plan.stage.shapes(), batch, key
    )
    assert gradient == plan.stage.shapes() and set(plan.stage.shown) <= metrics.keys()


@pytest.mark.slow
def test_two_halves_of_a_run_are_the_whole_and_leave_a_detector(detector, tmp_path):
    whole = train(detector(), tmp_path / "whole")
    train(detector(train={"total_steps": 2}), tmp_path / "halves")
    halves = train(detector(), tmp_path / "halves")
    for path, leaf in flatten(whole.params).items():
        np.testing.assert_array_equal(flatten(halves.params)[path], leaf, err_msg=path)
    assert {path.name for path in (tmp_path / "whole" / "samples").iterdir()} >= {"00000002.png"}
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {"loss", "heat", "size", "offset", "attributes"} <= records[-1].keys()
    network = load(tmp_path / "whole" / "weights.safetensors")
    assert network.kind == "detector" and network.meta["columns"] == {"labels": ["night"]}
    kept_params = load_weights(tmp_path / "whole" / "weights.safetensors")[0]
    for path, leaf in flatten(whole.ema["detector"]).items():
        np.testing.assert_allclose(flatten(kept_params)[path], leaf, atol=1e-3, rtol=1e-3)
    # And training starts from it.
    config = detector(model={"init": tmp_path / "whole"})
    start = make_stage(config).init(jax.random.key(0))["detector"]
    for path, leaf in flatten(kept_params).items():
        np.testing.assert_array_equal(flatten(start)[path], np.asarray(leaf, np.float32))


def test_the_autoencoder_is_not_trained_and_not_left(detector):
    plan = make_plan(detector())
    assert all(path.startswith("detector/") for path in plan.trained)
    assert plan.stage.given().keys() == {"autoencoder"}
    assert "autoencoder" not in plan.stage.shapes()


def test_a_part_of_a_batch_is_reconstructed_a_part_is_spoilt_and_the_rest_is_as_it_was(detector):
    stage = make_stage(detector(objective={"reconstructed": 0.25, "spoilt": 0.5}))
    x = jax.random.uniform(jax.random.key(0), (4, HEIGHT, WIDTH, 3)) * 2 - 1
    params = jax.tree.map(jnp.asarray, stage.given())
    seen = stage._as_generated(params, x, jax.random.key(1))
    apart = np.abs(np.asarray(seen - x)).mean((1, 2, 3))
    assert (apart[:3] > 1e-3).all() and apart[3] == 0
    half = stage._as_generated(params, x[:2], jax.random.key(1))  # a microbatch has its share
    assert np.asarray(half).shape == (2, HEIGHT, WIDTH, 3)


def test_a_preview_shows_the_boxes_of_the_data_and_those_found(detector):
    config = detector()
    stage = make_stage(config)
    source = build_source(config.data)
    params = stage.init(jax.random.key(0))
    frames = stage.preview(params, source, 3)
    assert frames.shape == (3, 2, 4 * HEIGHT, 4 * WIDTH, 3)
    yellow = (frames == np.array([255, 220, 0]).reshape(1, 1, 1, 1, 3)).all(-1)
    assert yellow[:, 0].any((1, 2)).all() and not yellow[:, 1].any()  # it has found nothing yet


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"num_frames": 2}}, "trains on single frames, set it to 1"),
        ({"objective": {"spoilt": 0.9}}, "shares of a batch and make more than one"),
        ({"objective": {"spoilt": 1.5}}, r"spoilt=1.5 must be in \[0, 1\]"),
        ({"data": {"kind": "folder"}}, "brings no 'boxes', which this stage is trained with"),
        ({"model": {"network": {"width": (8,)}}}, "no field 'width'"),
        ({"model": {"autoencoder": None}}, "reconstructed=0.25 needs an autoencoder"),
        ({"model": {"init": "none"}}, "no such file or folder: 'none'"),
        ({"data": {"height": 15}}, "15x32, must be multiples of 2"),
    ],
)
def test_what_does_not_fit_is_one_line(detector, sections, message):
    with pytest.raises(InputError, match=message):
        config = detector(**{k: v for k, v in sections.items() if k != "model"})
        with config.unlocked():
            for key, value in sections.get("model", {}).items():
                config.model[key] = value
        plan = make_plan(config)
        plan.stage.check_data()
        plan.stage.files  # noqa: B018


def test_a_detector_of_other_labels_is_no_start(detector, tmp_path):
    leave(detector(data={"labels": ("cars",)}), tmp_path / "cars.safetensors")
    config = detector(model={"init": tmp_path / "cars.safetensors"})
    with pytest.raises(InputError, match="columns/labels"):
        make_stage(config).files  # noqa: B018


def test_it_has_nothing_to_sample(detector):
    with pytest.raises(InputError, match="objective 'detector' has nothing to sample"):
        make_stage(detector()).sampler()


def test_no_labels_is_a_detector_of_boxes_alone(detector):
    stage = make_stage(detector(data={"labels": ()}))
    params = stage.init(jax.random.key(0))
    maps = stage.network.apply({"params": params["detector"]}, jnp.zeros((2, HEIGHT, WIDTH, 3)))
    assert maps.attributes.shape == (2, 0)
    assert table.fields_of(stage.network)["attributes"] == 0
