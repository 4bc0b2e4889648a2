"""The upsamplers: what they learn from, what they are told, what stands on what, their samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_stages import CONFIGS, Clips, leave, overridden, random_params

from vldm_jax.checkpoint.weights import load_weights
from vldm_jax.cli.flags import load_config
from vldm_jax.cli.train import train
from vldm_jax.config.data import SOURCES, Row
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import flatten
from vldm_jax.data.write import write_video
from vldm_jax.diffusion.process import alpha_sigma
from vldm_jax.sampling.bicubic import Bicubic
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.sampling.upsampling import LOW, downsample, enlarge
from vldm_jax.stages.samples import kept_samples, real_clips
from vldm_jax.stages.table import make_stage
from vldm_jax.stages.upsampling import low_version, random_patches

HEIGHT, WIDTH, FRAMES, PATCH = 16, 24, 3, 8
KEY = jax.random.key(0)
NETWORK = {
    "channels": (8, 8), "attention": (False, False), "layers_per_level": 1, "norm_groups": 4,
    "head_dim": 4,
}  # fmt: skip


class LargeClips(Clips):
    """Random clips in the size of these tests, smooth enough to have a low-resolution version."""

    def __getitem__(self, key):
        low = np.random.default_rng(int(key)).uniform(-1, 1, (self.num_frames, 4, 6, 3))
        x = enlarge(jnp.asarray(low, jnp.float32), HEIGHT, WIDTH, "cubic")
        video = np.asarray(jnp.clip(x * 127.5 + 127.5, 0, 255)).astype(np.uint8)
        content = {"image": video[0]} if self.num_frames == 1 else {"video": video}
        return {**super().__getitem__(key), **content}

    def __init__(self, num_frames=1, fps=7.5):
        super().__init__(num_frames, label_names=(), fps=fps)


@pytest.fixture(autouse=True)
def _source(monkeypatch):
    monkeypatch.setitem(
        SOURCES, "large", Row(lambda path, *, num_frames, fps, **rest: LargeClips(num_frames, fps))
    )


def config_of(name="upsampler", **sections):
    """Return a config of small networks on blocks of 4x4 pixels."""
    words = overridden(
        data={"kind": "large", "height": HEIGHT, "width": WIDTH, "path": ".", "labels": ()},
        model={"network": NETWORK}, objective={"patch": PATCH, "low_noise": 100},
        optim={"schedule": "constant", "warmup_steps": 0},
        train={"batch_size": 4, "total_steps": 2, "sample_every": None, "precision": "float32"},
        sampling={"steps": 2, "num_videos": 2},
    )  # fmt: skip
    if name == "video_upsampler":
        words += overridden(data={"num_frames": FRAMES})
    return load_config(f"{CONFIGS / 'driving' / name}.py:tiny", [*words, *overridden(**sections)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An image upsampler, and temporal layers on it, in blocks of pixels."""
    root = tmp_path_factory.mktemp("upsamplers")
    found = {name: root / f"{name}.safetensors" for name in ("upsampler", "video_upsampler")}
    with pytest.MonkeyPatch.context() as patch:
        row = Row(lambda path, *, num_frames, fps, **rest: LargeClips(num_frames, fps))
        patch.setitem(SOURCES, "large", row)
        leave(config_of(), found["upsampler"], source=LargeClips())
        video = config_of("video_upsampler", model={"backbone": found["upsampler"]})
        leave(video, found["video_upsampler"], source=LargeClips(FRAMES))
    return found


def batch_of(stage, count=4):
    examples = [LargeClips(stage.config.data.num_frames)[i] for i in range(count)]
    return {key: jnp.stack([jnp.asarray(e[key]) for e in examples]) for key in stage.needs}


# Patches.


def test_patches_are_of_one_place_in_all_frames_and_of_another_in_each_clip():
    place = np.stack(np.meshgrid(np.arange(9), np.arange(12), indexing="ij"), -1)
    place = np.concatenate([place, np.zeros((9, 12, 1), int)], -1).astype(np.uint8)
    frames = np.broadcast_to(place, (20, 3, 9, 12, 3)).copy()
    frames[..., 2] = np.arange(3)[None, :, None, None]
    found = np.asarray(random_patches(jnp.asarray(frames), jax.random.key(0), 4))
    assert found.shape == (20, 3, 4, 4, 3)
    assert all((found[:, i, ..., 2] == i).all() for i in range(3))
    corners = found[:, :, 0, 0, :2]
    np.testing.assert_array_equal(corners, corners[:, :1] + 0 * corners)
    assert len(np.unique(corners[:, 0, 0])) == 6 and len(np.unique(corners[:, 0, 1])) > 5
    np.testing.assert_array_equal(found[:, 0, 1, 1, :2] - corners[:, 0], 1)


# What the network is told.


@pytest.mark.parametrize("name", ["upsampler", "video_upsampler"])
def test_low_resolution_frames_have_noise_of_the_time_that_is_told(name):
    """One time a clip; alpha times the low version is left when the noise is taken off."""
    stage = make_stage(config_of(name))
    leading = (64,) if name == "upsampler" else (64, FRAMES)
    frames = jnp.full((*leading, 32, 32, 3), 191, jnp.uint8)
    z = stage.space.encode({}, {stage.frames: frames}, stage.frames, jax.random.key(0))
    told = stage.of_clip({stage.frames: frames}, z, jax.random.key(1))
    time, seen = told["low_res_noise"], told["concat"]
    assert time.shape == (64,) and 0 <= time.min() and 60 < time.max() <= 100
    assert seen.shape == (*leading, 8, 8, 3)
    alpha, sigma = alpha_sigma(stage.diffusion.schedule, time.astype(jnp.int32))
    inner = tuple(range(1, seen.ndim))
    np.testing.assert_allclose(seen.mean(inner), alpha * (191 / 127.5 - 1), atol=0.12)
    far = time > 20
    np.testing.assert_allclose(seen.std(inner)[far], sigma[far], rtol=0.2)


def test_without_noise_it_is_the_low_version_at_the_size_of_z():
    pixels = {"autoencoder": "pixels", "network.out_channels": 3}
    for model, how in (({}, "as it is"), (pixels, "enlarged")):
        none = {"objective": {"low_noise": 0}, "sampling": {"low_noise": 0}}
        stage = make_stage(config_of(model=model, **none))
        batch = batch_of(stage)
        z = stage.space.encode({}, batch, "image", jax.random.key(0))
        told = stage.of_clip(batch, z, jax.random.key(1))
        low = downsample(to_pixels(batch["image"]))
        expected = low if how == "as it is" else enlarge(low, HEIGHT, WIDTH)
        np.testing.assert_array_equal(told["concat"], expected)
        assert told["concat"].shape[:-1] == z.shape[:-1]


def test_blocks_of_pixels_are_the_same_pixels():
    space = make_stage(config_of(model={"autoencoder": "pixels/4"})).space
    frames = jnp.asarray(LargeClips()[0]["image"])[None]
    z = space.encode({}, {"image": frames}, "image", jax.random.key(0))
    assert z.shape == (1, *space.shape(HEIGHT, WIDTH)) == (1, 4, 6, 48)
    np.testing.assert_array_equal(space.decode({}, z), to_pixels(frames))
    np.testing.assert_array_equal(z[0, 1, 2, :3], to_pixels(frames)[0, 4, 8])


def test_a_residual_is_what_bicubic_lacks():
    """Nothing of what has no more than its low version; added to that, the frames themselves."""
    space = make_stage(config_of()).space
    even = jnp.full((1, HEIGHT, WIDTH, 3), 90, jnp.uint8)
    np.testing.assert_allclose(space.encode({}, {"image": even}, "image", KEY), 0, atol=1e-5)
    frames = jax.random.randint(KEY, (2, HEIGHT, WIDTH, 3), 0, 256).astype(jnp.uint8)
    z = space.encode({}, {"image": frames}, "image", KEY)
    assert z.shape == (2, *space.shape(HEIGHT, WIDTH)) == (2, 4, 6, 48)
    low = downsample(to_pixels(frames))
    back = space.decode({}, z) + space.beneath(low)
    np.testing.assert_allclose(back, to_pixels(frames), atol=1e-6)


def test_an_upsampler_that_finds_nothing_to_add_is_bicubic():
    stage = make_stage(config_of(diffusion={"target": "x0"}))
    params = jax.tree.map(jnp.zeros_like, stage.init(KEY))  # says x0 = 0 of everything
    asked = {LOW: jnp.asarray(low_version(LargeClips(FRAMES)[0]["video"]))[None]}
    made = stage.sampler()(params, KEY, jnp.arange(1), asked)
    np.testing.assert_array_equal(made, Bicubic()({}, KEY, jnp.arange(1), asked))


# What is trained.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upsampler", "video_upsampler"])
def test_training_changes_what_is_its_own(name, files, tmp_path):
    """All of the image upsampler; of the video upsampler temporal layers alone."""
    model = {"backbone": files["upsampler"]} if name == "video_upsampler" else {}
    config = config_of(name, model=model)
    state = train(config, tmp_path / "run")
    assert int(state.step) == 2
    left, meta = load_weights(tmp_path / "run" / "weights.safetensors")
    assert meta["upsampler"] == {"factor": 4, "low_noise": 100, "patch": PATCH}
    whole = name == "upsampler"
    assert any("temporal" not in path for path in flatten(left)) == whole
    assert meta["latents"] == "residual/4"
    if whole:
        return
    stage = make_stage(config)
    before = flatten(stage.init(jax.random.key(config.seed))["network"])
    after = flatten(stage.load(str(tmp_path / "run" / "weights.safetensors"))[0]["network"])
    image = flatten(load_weights(files["upsampler"])[0])
    for path, leaf in after.items():
        if "temporal" not in path:
            np.testing.assert_array_equal(leaf, np.float32(image[path]), err_msg=path)
    own = [path for path in after if "temporal" in path]
    assert max(np.abs(after[path] - before[path]).max() for path in own) > 1e-4


def test_fresh_temporal_layers_leave_the_image_upsampler_as_it_is(files):
    """From the same noise the samples are equal, frame by frame."""
    video = make_stage(config_of("video_upsampler", model={"backbone": files["upsampler"]}))
    image = make_stage(config_of())
    params = [video.init(jax.random.key(0)), image.load(str(files["upsampler"]))[0]]
    asked = {LOW: jnp.asarray(low_version(LargeClips(FRAMES)[0]["video"]))[None]}
    flags = {"image_only": jnp.zeros(1, bool)}
    made = []
    for stage, own, more in ((video, params[0], flags), (image, params[1], {})):
        maker = stage.sampler()
        # Another name is another stream of noise.
        maker = type(maker)(**{**maker.__dict__, "name": "one"})
        made.append(np.asarray(maker(own, jax.random.key(0), jnp.arange(1), {**asked, **more})))
    np.testing.assert_allclose(made[0], made[1], atol=1)


def test_the_gradient_reaches_the_embedding_of_the_noise_and_what_stands_beside_z():
    stage = make_stage(config_of())
    params = random_params(stage.shapes())
    batch = batch_of(stage)
    gradient = jax.grad(lambda p: stage.loss(p, batch, jax.random.key(0), 0)[0])(params)
    found = flatten(gradient["network"])
    assert jnp.abs(found["condition_low_res_noise/linear_1/kernel"]).max() > 0
    assert found["conv_in/kernel"].shape[2] == 48 + 3
    assert jnp.abs(found["conv_in/kernel"][:, :, 48:]).max() > 0


# Samples.


def test_samples_are_upsampled_real_clips(files, tmp_path):
    """Beside each sample stands the clip that it should be."""
    config = config_of("video_upsampler", model={"backbone": files["upsampler"]})
    stage = make_stage(config)
    params, found = stage.load(str(files["video_upsampler"]))
    real = real_clips(stage, clips=2, seed=0)
    asked = real.asked(stage)
    assert asked[0][LOW].shape == (2, FRAMES, HEIGHT // 4, WIDTH // 4, 3)
    np.testing.assert_array_equal(asked[0][LOW][1], low_version(real.real.read(1)))
    samples, made_with = kept_samples(stage, params, found, asked, tmp_path / "samples")
    assert samples.read(0).shape == (FRAMES, HEIGHT, WIDTH, 3)
    pairs = real.sets(samples, made_with).compared["reference"].samples
    np.testing.assert_array_equal(pairs.beside["reference"](1), real.real.read(1))


def test_the_baseline_is_a_way_to_sample_the_same_stage(files, tmp_path):
    """What it makes of a clip is nearer to that clip than to another one."""
    stage = make_stage(config_of("upsampler", sampling={"method": "bicubic"}))
    real = real_clips(stage, clips=3, seed=0)
    samples, _ = kept_samples(
        stage, *stage.load(str(files["upsampler"])), real.asked(stage), tmp_path / "s"
    )
    made, clips = ([np.int16(one.read(i)) for i in range(3)] for one in (samples, real.real))
    for i in range(3):
        own, other = np.abs(made[i] - clips[i]).mean(), np.abs(made[i] - clips[i - 1]).mean()
        assert own < 0.5 * other


# Bad input.


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"objective": {"low_noise": 1000}}, "low_noise=1000 must be a time of the diffusion"),
        ({"sampling": {"low_noise": 101}}, "low_noise=101 is more than the network learns"),
        ({"sampling": {"method": "nearest"}}, "method='nearest': choose one of denoise, bicubic"),
        ({"sampling": {"overlap": 5}}, "overlap=5 must be at most half the frames of a chunk"),
        ({"objective": {"patch": 12}}, "patch=12 must be a multiple of 8"),
        ({"objective": {"patch": 24}}, "patch=24 must .* fit into frames of 16x24"),
        ({"sampling": {"tile": (12, 8)}}, "tile=.12, 8. must be height and width in pixels"),
        ({"model": {"network.more_conditions": ()}}, "is told the noise on its low-resolution"),
        ({"model": {"network.out_channels": 3}}, "residual/4 has 48 channels, set it to 48"),
        ({"data": {"height": 18}, "objective": {"patch": 8}}, "must be multiples of 4, the blocks"),
    ],
)
def test_what_cannot_be_is_named(sections, message):
    with pytest.raises(InputError, match=message):
        make_stage(config_of(**sections)).files  # noqa: B018


def test_a_mix_a_frame_is_refused():
    with pytest.raises(InputError, match="mix='per_frame': an upsampler works on chunks of any"):
        make_stage(config_of("video_upsampler", model={"temporal.mix": "per_frame"}))


def test_videos_of_a_folder_are_upsampled_in_turn(tmp_path):
    for number in range(2):
        write_video(tmp_path / f"{number}.mp4", np.full((5, 8, 12, 3), 90 * number, np.uint8), 7.5)
    sections = {"data": {"num_frames": 5, "fps": 7.5}, "sampling": {"low": tmp_path}}
    stage = make_stage(config_of("video_upsampler", **sections))
    low = stage.request(3)[LOW]
    assert low.shape == (3, 5, HEIGHT // 4, WIDTH // 4, 3)
    np.testing.assert_allclose(low.mean((1, 2, 3, 4)), (0, 90, 0), atol=3)
    assert len(stage.describe({LOW: low})["low_sha256"]) == 64


def test_samples_of_nothing_are_refused(files):
    stage = make_stage(config_of())
    with pytest.raises(InputError, match="give them, --config.sampling.low=FOLDER"):
        stage.describe(stage.request(1))


def test_networks_of_other_blocks_are_refused(files):
    pixels = {"autoencoder": "pixels", "network.out_channels": 3, "backbone": files["upsampler"]}
    with pytest.raises(InputError, match="made for another experiment|was trained on residual/4"):
        make_stage(config_of("video_upsampler", model=pixels)).files  # noqa: B018
