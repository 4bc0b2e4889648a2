"""Every config file builds at full size, as shapes only, and carries the paper's settings."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from vldm_jax.cli.flags import load_config
from vldm_jax.config.diffusion import GRIDS, SOLVERS, build_grid, build_schedule, build_solver
from vldm_jax.config.ranges import MAY_BE_MISSING
from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import count, flatten, partition
from vldm_jax.stages.plan import make_plan
from vldm_jax.stages.table import STAGES, make_stage
from vldm_jax.stages.video import VideoStage

ROOT = Path(__file__).parent.parent.parent
FILES = sorted(f for f in (ROOT / "configs").glob("*/*.py") if f.stem != "stack")
NAMES = [str(path.relative_to(ROOT / "configs").with_suffix("")) for path in FILES]


def load(name, *overrides):
    file, _, variant = name.partition(":")
    path = f"{ROOT / 'configs' / file}.py"
    return load_config(f"{path}:{variant}" if variant else path, overrides)


@pytest.mark.parametrize("name", [*NAMES, *(n + ":tiny" for n in NAMES if "driving" in n)])
def test_config_fits_together(name):
    plan = make_plan(load(name))
    assert plan.trained and set(plan.trained) <= flatten(plan.stage.shapes()).keys()


def test_a_stack_is_no_experiment():
    with pytest.raises(InputError, match="a stack of models, .* vldm sample"):
        make_stage(load("driving/stack:tiny"))


@pytest.mark.parametrize("name", NAMES)
def test_unknown_variant_is_refused(name):
    with pytest.raises(InputError, match="unknown variant 'huge'"):
        load(name + ":huge")


@pytest.mark.parametrize(
    ("name", "in_space", "in_time"),
    [
        ("text2video/video", 865_910_724, 656_076_838),
        pytest.param("text2video/video:sd14", 859_520_964, 649_687_078, marks=pytest.mark.slow),
    ],
)
def test_text_to_video_is_stable_diffusion_with_the_papers_temporal_layers(name, in_space, in_time):
    shapes = make_stage(load(name)).shapes()
    frozen = flatten(partition(shapes, load(name).train.rules)["frozen"])
    trained = {path: leaf for path, leaf in flatten(shapes).items() if path not in frozen}
    assert (count(frozen.values()), count(trained.values())) == (in_space, in_time)
    assert sum(path.endswith("mixer/logit") for path in trained) == 22 + 16


@pytest.mark.parametrize(
    ("name", "in_space", "in_time"),
    [
        ("driving/video_upsampler", 104_343_843, 29_601_782),
        pytest.param(
            "text2video/video_upsampler", 473_398_020, 437_853_990, marks=pytest.mark.slow
        ),
    ],
)
def test_upsamplers_are_frozen_image_upsamplers_with_temporal_layers(name, in_space, in_time):
    """Stable Diffusion's x4 upscaler is 473.40M; the paper's layers on it 449M, second-hand."""
    stage = make_stage(load(name))
    parts = partition(stage.shapes(), load(name).train.rules)
    frozen = flatten(parts["frozen"])
    trained = {path: leaf for path, leaf in flatten(stage.shapes()).items() if path not in frozen}
    assert (count(frozen.values()), count(trained.values())) == (in_space, in_time)
    z, _, cond = stage.inputs
    beside = 3 + z.shape[-1]
    assert frozen["network/conv_in/kernel"].shape[2] == beside and cond["concat"].shape[-1] == 3


def test_what_is_known_of_the_papers_upsamplers():
    """84K steps of 32 patches at 1e-5 (second-hand), v; chunks of 8 frames (paper)."""
    image, video = load("driving/upsampler"), load("driving/video_upsampler")
    assert (image.train.total_steps, image.train.batch_size) == (84_000, 32)
    assert (image.optim.lr, image.diffusion.target) == (1e-5, "v")
    assert (image.data.height, image.data.width) == (512, 1024)
    assert (video.data.num_frames, video.sampling.chunk) == (8, 8)
    for config in (image, video):
        assert not any(config.model.network.attention)


def test_text_to_image_is_stable_diffusion_2_1():
    tree = make_stage(load("text2video/image")).shapes()
    assert count(flatten(tree).values()) == 865_910_724


def test_paper_settings_of_text_to_video():
    config = load("text2video/video")
    data = config.data
    assert (data.num_frames, data.height, data.width) == (8, 320, 512)
    assert config.diffusion.target == "epsilon"
    assert (config.model.temporal.mix, config.model.temporal.positions) == ("scalar", "relative")
    # Stable Diffusion's schedule, to the digit that its samplers start from.
    alphas_bar = build_schedule(config.diffusion).alphas_bar()
    assert alphas_bar[0] == pytest.approx(1 - 0.00085, abs=1e-7)
    assert alphas_bar[-1] == pytest.approx(0.0047, abs=1e-4)


def test_paper_settings_of_driving():
    config = load("driving/video")
    assert (config.data.num_frames, config.data.fps) == (8, 2.0)
    assert (config.data.height, config.data.width) == (128, 256)
    assert (config.diffusion.target, config.objective.p_drop) == ("v", 0.1)
    temporal = make_stage(config).network.temporal
    assert (temporal.mix, temporal.num_frames) == ("per_frame", 8)
    image = load("driving/image")
    assert (image.train.batch_size, image.train.total_steps, image.optim.lr) == (640, 73_000, 1e-4)


def test_boxes_are_told_to_an_image_model_of_the_size_of_the_other():
    """Sec. 4.1.2: image-only; all of it is trained, on data that brings boxes."""
    config, plain = load("driving/boxes"), load("driving/image")
    assert config.model.network.to_dict().pop("more_conditions") == ({"kind": "boxes", "most": 32},)
    boxes, image = (make_plan(c) for c in (config, plain))
    boxes.stage.check_data()
    more = flatten(boxes.stage.shapes()).keys() - flatten(image.stage.shapes()).keys()
    assert more and all(path.startswith("network/condition_boxes/") for path in more)
    assert more <= set(boxes.trained)
    assert (config.data.kind, config.data.max_boxes, config.objective.p_drop) == ("boxes", 32, 0.1)
    # Labels and boxes that samples are asked for do not contradict each other.
    for (_, cars), asked in zip(config.sampling.labels, config.sampling.boxes, strict=True):
        assert cars == len(asked)


def test_the_tiny_model_of_boxes_starts_from_the_shipped_image_model():
    stage = make_stage(load("driving/boxes:tiny"))
    assert stage.files["init"].path.endswith("driving/image.safetensors")


@pytest.mark.parametrize("name", ["driving/prediction", "text2video/prediction"])
def test_one_model_generates_and_continues_key_frames(name):
    """Sec. 3.2: S in {0, 1, 2}, at 1.875 = 30 / 16 fps; only temporal layers see what is given."""
    config = load(name)
    stage = make_stage(config)
    assert [which for _, which in config.objective.given] == [(), (0,), (0, 1)]
    assert config.data.fps * 16 == 30.0
    trained = partition(stage.shapes(), config.train.rules)
    new = [p for p in flatten(stage.shapes()) if "maps" in p]
    assert new and all("temporal" in path for path in new)
    assert not any("maps" in path for path in flatten(trained["frozen"]))


@pytest.mark.parametrize("name", ["driving/interpolation", "text2video/interpolation"])
def test_one_model_interpolates_at_both_rates(name):
    """Sec. 3.3: three frames between two, T -> 4T -> 16T, one network for both."""
    config = load(name)
    assert (config.data.num_frames, config.objective.given[0][1]) == (5, (0, 4))
    assert make_stage(config).rates == (7.5, 30.0) == (config.data.fps, *config.data.more_fps)
    assert config.objective.given_noise == 250


def test_text_to_video_interpolation_trains_everything():
    """App. H.2 as reported: 1,509M; ours has 2.3M more for noise and rate of the given frames."""
    config = load("text2video/interpolation:sd14")
    parts = partition(make_stage(config).shapes(), config.train.rules)
    assert "frozen" not in parts
    whole = count(flatten(make_stage(config).shapes()).values())
    assert 0 < whole - (859_520_964 + 649_687_078) < 2_500_000


def test_driving_video_trains_temporal_layers_only():
    config = load("driving/video")
    parts = partition(make_stage(config).shapes(), config.train.rules)
    assert set(parts) == {"frozen", "temporal", "plain", "mix"}
    assert all("temporal" in path for path in flatten(parts["temporal"]) | flatten(parts["plain"]))
    assert all(path.endswith("/kernel") for path in flatten(parts["temporal"]))
    assert not any("temporal" in path for path in flatten(parts["frozen"]))
    assert all(path.endswith("logit") for path in flatten(parts["mix"]))


@pytest.mark.parametrize(("name", "size"), [("driving", (128, 256)), ("text2video", (320, 512))])
def test_the_temporal_decoder_adds_the_layers_of_stable_video_diffusion(name, size):
    """It has 97,742,847 parameters, the image autoencoder 83,653,863, of which it lacks 20."""
    config = load(f"{name}/decoder")
    assert (config.data.num_frames, config.data.height, config.data.width) == (8, *size)
    plan = make_plan(config)
    shapes = flatten(plan.stage.shapes())
    temporal = {path for path in shapes if "temporal" in path}
    assert count(shapes[path] for path in temporal) == 97_742_847 - 83_653_863 + 20
    others = {path for path in plan.trained if not path.startswith("discriminator/")}
    assert others == temporal | {"logvar"}
    assert not any("encoder/encoder" in path or "/quant_conv" in path for path in shapes)


@pytest.mark.parametrize("solver", sorted(SOLVERS))
@pytest.mark.parametrize("grid", sorted(GRIDS))
def test_every_solver_and_grid_is_built_by_its_name(solver, grid):
    config = load("driving/image:tiny")
    with config.unlocked():
        config.sampling.solver = {"kind": solver}
        config.sampling.grid = {"kind": grid}
    sigmas = build_grid(config.sampling, build_schedule(config.diffusion))
    assert len(sigmas) == config.sampling.steps + 1 and sigmas[-1] == 0.0
    assert build_solver(config.sampling) == SOLVERS[solver]()


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("driving/video:tiny", "model.network.head_dim=7", "7"),
        ("driving/video:tiny", "model.network.norm_groups=7", "7"),
        ("driving/video:tiny", "model.temporal.mix=none", "mix 'none' is unknown"),
        ("driving/video:tiny", "model.network.head_dim=0", "head_dim 0 does not divide"),
        ("driving/video:tiny", "optim.accumulate=3", "divisible by config.optim.accumulate=3"),
        (
            "driving/video:tiny",
            "optim.accumulate=0",
            "accumulate=0 must be a whole number of at least 1",
        ),
        ("driving/video:tiny", "optim.name=sgd", "choose one of"),
        ("driving/video:tiny", "optim.schedule=step", "choose one of"),
        ("driving/video:tiny", "optim.lr=0.0", "must be more than 0"),
        ("driving/video:tiny", "objective.kind=gan", "choose one of"),
        ("driving/video:tiny", "objective.p_drop=7.0", r"must be in \[0, 1\]"),
        ("driving/video:tiny", "data.labels=('night',)", "must name 2 columns"),
        ("driving/video:tiny", "optim.clip_norm=0.0", "clip_norm=0.0 must be more than 0 or None"),
        ("driving/video:tiny", "optim.clip_norm=-1.0", "clip_norm=-1.0 must be more than 0"),
        ("driving/video:tiny", "optim.betas=(0.9, 2.0)", r"must be two numbers in \[0, 1\)"),
        ("driving/video:tiny", "optim.betas=(0.9,)", "must be two numbers"),
        ("driving/video:tiny", "diffusion.min_snr_gamma=-1.0", "must be more than 0 or None"),
        ("driving/video:tiny", "train.stop_after_minutes=-1.0", "must be more than 0 or None"),
        ("driving/video:tiny", "train.rules=(('temporal',),)", "is no .regular expression, group"),
        ("driving/video:tiny", "train.rules=(('(', 'temporal'),)", "no regular expression"),
        ("driving/video:tiny", "train.groups.mix=(1.0,)", "groups.mix=.* must be two numbers"),
        (
            "driving/video:tiny",
            "train.rules=(('^autoencoder/', 'temporal'), ('', 'frozen'))",
            "no parameter to train",
        ),
        ("driving/video:tiny", "seed=-1", "seed=-1 must be a whole number in"),
        ("driving/video:tiny", "train.ema_decay=1.0", r"must be in \[0, 1\) or None"),
        ("driving/video:tiny", "optim.lr=1e400", "lr=inf must be more than 0"),
        ("driving/video:tiny", "model.kind=vae", "unknown kind of network"),
        ("driving/video:tiny", "sampling.steps=2000", "steps=2000"),
        ("driving/video:tiny", "data.workers=-1", "must be a whole number of at least 0"),
        ("driving/video:tiny", "sampling.labels=((1.0,),)", "a tuple of 2 values"),
        ("driving/video:tiny", "sampling.labels=(1.0, 2.0)", "a tuple of 2 values"),
        ("driving/boxes:tiny", "sampling.boxes=((0.1, 0.1, 0.5, 1.5),)", "leaves the image"),
        ("driving/boxes:tiny", "data.max_boxes=0", "max_boxes=0 must be a whole number"),
        ("driving/video:tiny", "sampling.num_videos=0", "must be a whole number of at least 1"),
        ("driving/video:tiny", "train.rules=(('temporal', 'other'), ('', 'frozen'))", "other"),
        ("driving/video:tiny", "train.rules=(('temporal', 'temporal'),)", "covered by no rule"),
        ("driving/video:tiny", "checkpoint.weights_dtype=int8", "choose one of"),
        ("text2video/video", "diffusion.zero_terminal_snr=True", "epsilon"),
        ("driving/video:tiny", "diffusion.target=noise", "noise"),
        ("driving/video:tiny", "diffusion.schedule.kind=square", "choose one of"),
        ("driving/video:tiny", "sampling.solver.kind=rk4", "choose one of"),
        ("driving/video:tiny", "train.precision=float8", "float8"),
        ("driving/image:tiny", "data.num_frames=2", "single frames"),
        ("driving/autoencoder:tiny", "model.network.norm_groups=5", "norm_groups=5"),
        ("driving/autoencoder:tiny", "model.discriminator.layers=-1", "layers=-1 must be a whole"),
        ("driving/video:tiny", "model.temporal.mix_logit=1e999", "mix_logit=inf must be a finite"),
        ("driving/autoencoder:tiny", "data.height=60", "multiple of 8"),
        ("driving/autoencoder:tiny", "model.perceptual=resnet", "resnet"),
        ("driving/autoencoder", "train.rules=(('^autoencoder/', 'autoencoder'),)", "no rule"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_slow(name, override, message):
    with pytest.raises(InputError, match=message):
        make_plan(load(name, f"--config.{override}"))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("foo", "the config has no key 'foo'"),
        ("difusion", "the config has no key 'difusion'; did you mean 'diffusion'"),
        ("optim.beta", "config.optim has no key 'beta'; did you mean 'betas'"),
        ("train.stop_after", "config.train has no key 'stop_after'; did you mean 'stop_after_min"),
        ("sampling.step", "config.sampling has no key 'step'; did you mean 'steps'"),
        ("sampling.label", "config.sampling has no key 'label'; did you mean 'labels'"),
        ("checkpoint.weight_dtype", "config.checkpoint has no key .*did you mean 'weights_dtype'"),
        ("diffusion.min_snr_gama", "config.diffusion has no key .*did you mean 'min_snr_gamma'"),
        ("data.strides", "config.data has no key 'strides'; did you mean 'stride'"),
        ("objective.drop", "config.objective has no key 'drop'; did you mean 'p_drop'"),
    ],
)
def test_a_misspelt_key_in_a_file_is_named(key, message):
    config = load("driving/video:tiny")
    with config.unlocked():
        place(config, key)[key.split(".")[-1]] = 1.0
    with pytest.raises(InputError, match=message):
        make_stage(config)


def place(config, key):
    """Return the section that a key of a config lies in."""
    for name in key.split(".")[:-1]:
        config = config[name]
    return config


@pytest.mark.parametrize("name", ["driving/autoencoder:tiny", "driving/video:tiny"])
def test_a_missing_key_is_named(name):
    whole = load(name)
    keys = {f"{part}.{key}" for part in whole if part != "seed" for key in whole[part]}
    for key in {*whole, *keys} - MAY_BE_MISSING - {"sampling.labels"}:
        config = load(name)
        with config.unlocked():
            del place(config, key)[key.split(".")[-1]]
        with pytest.raises(InputError, match=f"(no (section|key) '{key}'|config.{key} is missing)"):
            make_stage(config)


@pytest.mark.parametrize("key", sorted(MAY_BE_MISSING))
def test_a_key_that_its_source_knows_may_be_missing(key):
    config = load("driving/video:tiny")
    with config.unlocked():
        del config.data[key.removeprefix("data.")]
    assert make_stage(config).config == config and place(config, key) is config.data


@pytest.mark.parametrize("key", ["optim", "model.network", "diffusion.schedule", "train.groups"])
def test_a_section_that_is_none_is_named(key):
    config = load("driving/video:tiny")
    with config.unlocked(), config.ignore_type():
        place(config, key)[key.split(".")[-1]] = 3
    with pytest.raises(InputError, match=f"config.{key}=3 must be a section"):
        make_stage(config)


def test_a_misspelt_field_of_the_discriminator_is_named():
    config = load("driving/autoencoder:tiny")
    with config.unlocked():
        config.model.discriminator.layer = 3
    with pytest.raises(InputError, match="config.model.discriminator has no field 'layer'"):
        make_stage(config)


def test_a_stage_from_outside_has_keys_of_its_own(monkeypatch):
    class Own(VideoStage):
        also_reads: ClassVar = {"sampling": ("warmth",), "mine": ("size",)}

    monkeypatch.setitem(STAGES, "video", Own)
    config = load("driving/video:tiny")
    with config.unlocked():
        config.sampling.warmth, config.mine = 1.0, {"size": 3}
    make_stage(config)
    with config.unlocked():
        config.mine.sise = 3
    with pytest.raises(InputError, match="config.mine has no key 'sise'; did you mean 'size'"):
        make_stage(config)


def test_checking_touches_no_device():
    """With a platform that does not exist, whatever asks for a device fails."""
    code = (
        "from vldm_jax.stages.plan import make_plan; from vldm_jax.cli.flags import load_config; "
        "[make_plan(load_config(name)) for name in ('configs/driving/video.py', "
        "'configs/driving/autoencoder.py')]; print('checked'); import jax; jax.devices()"
    )
    environment = os.environ | {"JAX_PLATFORMS": "nowhere", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "checked\n", done.stderr
    assert done.returncode == 1 and "nowhere" in done.stderr
