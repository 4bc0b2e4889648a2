"""The whole line through the commands: videos, autoencoder, image model, temporal layers, files."""

import json
import re
from pathlib import Path

import av
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from vldm_jax.checkpoint.inspect import read_params
from vldm_jax.checkpoint.owner import owned
from vldm_jax.checkpoint.weights import load_weights, save_weights
from vldm_jax.cli import main as entry
from vldm_jax.cli.flags import load_config
from vldm_jax.core.files import sha256
from vldm_jax.core.paths import flatten, unflatten
from vldm_jax.data.write import write_video
from vldm_jax.stages.plan import make_plan

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "driving"
FPS, FRAMES, HEIGHT, WIDTH = 8.0, 4, 32, 64
SMALL_NETWORK = [
    "--config.model.network.channels=(16,)",
    "--config.model.network.attention=(False,)",
    "--config.model.network.norm_groups=4",
    "--config.model.network.head_dim=8",
    "--config.model.network.context_dim=16",
    "--config.model.network.out_channels=4",
]
TEXT_NETWORK = {
    "channels": (16,), "attention": (True,), "norm_groups": 4, "head_dim": 8, "context_dim": 16,
}  # fmt: skip
COMMON = [
    f"--config.data.height={HEIGHT}",
    f"--config.data.width={WIDTH}",
    f"--config.data.fps={FPS}",
    "--config.train.batch_size=4",
    "--config.train.total_steps=2",
    "--config.train.log_every=1",
    "--config.optim.schedule=constant",
    "--config.optim.warmup_steps=0",
    "--config.optim.lr=0.01",
    "--config.sampling.num_videos=3",
]
FEW_STEPS = ["--config.sampling.steps=2", "--config.sampling.batch_size=2"]


def vldm(*argv):
    """Run a command as the console script does, and insist that it succeeds."""
    assert entry.main([str(word) for word in argv]) == 0


def moving_square(rng, frames=24):
    video = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    video[:] = rng.integers(0, 255, 3)
    x, color = rng.integers(0, 20), rng.integers(0, 255, 3)
    for t in range(frames):
        video[t, 8:20, x + t : x + t + 12] = color
    return video


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """Train all stages for two steps; return their folder."""
    root = tmp_path_factory.mktemp("line")
    rng = np.random.default_rng(0)
    names = [f"{i}.mp4" for i in range(4)]
    for name in names:
        write_video(root / "videos" / name, moving_square(rng), 8.0)
    labels = {
        "names": ["night", "cars"],
        "clips": {name: [i % 2, i] for i, name in enumerate(names)},
    }
    (root / "videos" / "labels.json").write_text(json.dumps(labels))
    common = [*COMMON, f"--config.data.path={root / 'videos'}"]
    autoencoder = [
        *("train", f"--config={CONFIGS / 'autoencoder.py'}:tiny", f"--workdir={root / 'ae'}"),
        *common,
        "--config.objective.perceptual_weight=0.0",
        "--config.model.network.base=8",
        "--config.model.network.mult=(1, 1)",
        "--config.model.network.latent_channels=4",
        "--config.model.network.norm_groups=4",
    ]
    vldm(*autoencoder)
    on_autoencoder = [*common, *SMALL_NETWORK, f"--config.model.autoencoder={root / 'ae'}"]
    image = [f"--config={CONFIGS / 'image.py'}:tiny", *on_autoencoder, *FEW_STEPS]
    vldm("train", f"--workdir={root / 'image'}", *image)
    video = [
        f"--config={CONFIGS / 'video.py'}:tiny",
        *on_autoencoder,
        *FEW_STEPS,
        f"--config.model.backbone={root / 'image'}",
        f"--config.data.num_frames={FRAMES}",
    ]
    vldm("train", f"--workdir={root / 'video'}", *video)
    return root, {"image": image, "video": video}


def test_a_dry_run_tells_what_the_run_takes_and_writes_nothing(line, capsys):
    root, arguments = line
    before = sorted(root.rglob("*"))
    vldm("train", "--dry-run", *arguments["video"])
    assert sorted(root.rglob("*")) == before
    lines = capsys.readouterr().out.splitlines()
    told = dict(re.split("  +", line, maxsplit=1) for line in lines if "  " in line.lstrip())
    params = flatten(load_weights(root / "video" / "weights.safetensors")[0])
    trained = sum(leaf.size for leaf in params.values())
    assert told["trained"] == f"{trained:,} parameters"
    assert f"video {(4, FRAMES, HEIGHT, WIDTH, 3)}" in told["batch"]
    whole, *parts = (float(number) for number in re.findall(r"([\d.]+) MB", told["memory"]))
    assert min(parts) > 0 and whole == pytest.approx(sum(parts), rel=0.01, abs=0.1)
    disk = float(told["disk"].split(" MB a checkpoint")[0])
    copies = 4  # the parameters, their average, two moments
    assert disk == pytest.approx(copies * 4 * trained / 1e6, rel=0.01)
    assert "nothing is written" in lines[-1]


def test_temporal_file_holds_temporal_layers_and_names_its_backbone(line):
    root, _ = line
    params, meta = load_weights(root / "video" / "weights.safetensors")
    assert all("temporal" in path for path in flatten(params))
    assert meta["kind"] == "temporal" and meta["steps"] == 2
    assert meta["backbone"]["sha256"] == sha256(root / "image" / "weights.safetensors")
    assert not any(
        "temporal" in path
        for path in flatten(load_weights(root / "image" / "weights.safetensors")[0])
    )


def test_autoencoder_file_carries_a_measured_latent_scale(line):
    root, _ = line
    meta = load_weights(root / "ae" / "weights.safetensors")[1]
    assert meta["kind"] == "autoencoder" and 0.0 < meta["config"]["latent_scale"] != 1.0


def test_sampled_videos_open_with_the_right_rate_size_and_length(line):
    root, configs = line
    vldm("sample", f"--workdir={root / 'video'}", f"--out={root / 'out'}", *configs["video"])
    for i in range(3):
        with av.open(str(root / "out" / f"{i:04}.mp4")) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert (float(stream.average_rate), stream.codec_context.pix_fmt) == (FPS, "yuv420p")
        assert np.stack(frames).shape == (FRAMES, HEIGHT, WIDTH, 3)
        with Image.open(root / "out" / f"{i:04}.gif") as gif:
            assert gif.n_frames == FRAMES
    assert (root / "out" / "contact_sheet.png").is_file()
    metadata = json.loads((root / "out" / "metadata.json").read_text())
    assert metadata["fps"] == FPS and len(metadata["labels"]) == 3
    assert len(metadata["weights_sha256"]) >= 2


def test_with_mix_one_the_temporal_layers_have_no_say(line):
    """What alignment starts from: the image model's independent frames, from the same noise."""
    root, configs = line
    name, *overrides = configs["video"]
    config = load_config(name.removeprefix("--config="), overrides)
    stage = make_plan(config).stage
    params, _ = stage.load(str(root / "video" / "weights.safetensors"))
    other = {**params, "network": disturb_temporal(params["network"])}
    sampler = stage.sampler()

    def draw(params, image_only):
        cond = {key: jnp.asarray(value) for key, value in stage.request(2).items()}
        cond["image_only"] = jnp.full(2, image_only)
        return np.asarray(sampler(params, jax.random.key(0), jnp.arange(2), cond)).astype(int)

    assert np.array_equal(draw(other, True), draw(params, True))
    aligned = [draw(p, False) for p in (params, other)]
    assert np.abs(aligned[0] - aligned[1]).max() > 0


def disturb_temporal(network):
    rng = np.random.default_rng(1)
    flat = {
        path: leaf + rng.normal(size=leaf.shape).astype(np.float32) if "temporal" in path else leaf
        for path, leaf in flatten(network).items()
    }
    return unflatten(flat)


def test_an_export_is_the_average_or_with_raw_the_last_weights(line):
    root, _ = line
    for name, flags in (("ema", ()), ("raw", ("--raw",))):
        out = root / f"export_{name}"
        vldm("convert", "export", root / "video", "--to", "weights", *flags, "--out", out)
    files = (root / f"export_{name}" / "temporal.safetensors" for name in ("ema", "raw"))
    (ema, raw), kept = map(load_file, files), load_file(root / "video" / "weights.safetensors")
    assert ema.keys() == raw.keys() and all(np.array_equal(ema[name], kept[name]) for name in kept)
    stored = flatten(read_params(root / "video" / "checkpoints" / "2")["network"])
    assert all(np.array_equal(raw[name], stored[name]) for name in stored)
    assert any(not np.array_equal(raw[name], ema[name]) for name in raw)
    card = (root / "export_raw" / "README.md").read_text()
    assert all(word in card for word in ("metrics", "loss", "folder", "steps", "sha256"))


@pytest.mark.slow
def test_samples_do_not_depend_on_the_batch(line):
    root, configs = line
    out = []
    for size in (1, 3):
        folder = root / f"batch{size}"
        vldm(
            "sample", f"--workdir={root / 'image'}", f"--out={folder}", *configs["image"],
            f"--config.sampling.batch_size={size}",
        )  # fmt: skip
        out.append(np.asarray(Image.open(folder / "contact_sheet.png")).astype(int))
    assert np.abs(out[0] - out[1]).max() <= 1  # one grey level: kernels differ by batch size


@pytest.mark.slow
def test_a_second_start_goes_on_where_the_first_ended(line, capsys):
    root, configs = line
    argv = ["train", f"--workdir={root / 'video'}", *configs["video"]]
    vldm(*argv, "--config.train.total_steps=3")
    steps = [
        json.loads(text)["step"]
        for text in (root / "video" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [1, 2, 3]


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("video", "--config.model.backbone=nowhere.safetensors", "no such file"),
        ("video", "--config.model.network.layers_per_level=2", "made for another experiment"),
        ("video", "--config.model.init=asset:driving/image.safetensors", "kind 'unet', not"),
        ("video", "--config.data.path=nowhere", "nowhere"),
        ("video", "--config.data.num_frames=400", "400"),
        ("video", "--config.data.height=33", "must be multiples of 2"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_no_workdir(line, capsys, stage, change, message):
    root, configs = line
    refused(capsys, ["train", f"--workdir={root / 'new'}", *configs[stage], change], message)
    assert not (root / "new").exists()


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("video", "--config.optim.lr=0.5", "another config"),
        ("image", "--config.train.batch_size=8", "train.batch_size is 4 there and 8 here"),
    ],
)
def test_a_workdir_of_another_config_is_refused_untouched(line, capsys, stage, change, message):
    root, configs = line
    before = sorted(path.name for path in (root / stage).iterdir())
    refused(capsys, ["train", f"--workdir={root / stage}", *configs[stage], change], message)
    assert sorted(path.name for path in (root / stage).iterdir()) == before


def test_a_workdir_that_another_run_owns_is_refused_but_read(line, capsys):
    root, configs = line
    with owned(root / "video"):
        argv = ["train", f"--workdir={root / 'video'}", *configs["video"]]
        refused(capsys, argv, f"another run owns {root / 'video'}: process ")
        vldm("inspect", root / "video")
    assert "checksums match" in capsys.readouterr().out


def refused(capsys, argv, message):
    """Run a command that must fail with one line that says `message`."""
    capsys.readouterr()
    assert entry.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("vldm: error: ") and message in err and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["image", "video"])
def test_training_starts_from_given_weights(line, stage):
    """With a learning rate of nearly zero, what comes out is what went in."""
    root, configs = line
    start = root / stage / "weights.safetensors"
    out = root / f"{stage}_again"
    vldm("train", f"--workdir={out}", *configs[stage], "--config.optim.lr=1e-12",
         f"--config.model.init={start}")  # fmt: skip
    before, after = (flatten(load_weights(path)[0]) for path in (start, out / start.name))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_too_little_data_is_said_before_training(line, capsys):
    root, configs = line
    argv = ["train", f"--workdir={root / 'new'}", *configs["image"]]
    assert entry.main([*argv, "--config.train.batch_size=100000"]) == 2
    assert "fewer than one global batch" in capsys.readouterr().err
    assert not (root / "new").exists()


def test_temporal_layers_of_another_backbone_are_refused(line, capsys):
    root, configs = line
    other = root / "other.safetensors"
    params, meta = load_weights(root / "image" / "weights.safetensors")
    save_weights(other, params, meta | {"steps": 7})
    argv = ["sample", f"--workdir={root / 'video'}", f"--out={root / 'no'}", *configs["video"]]
    assert entry.main([*argv, f"--config.model.backbone={other}"]) == 2
    assert "stands on the backbone" in capsys.readouterr().err
    assert not (root / "no").exists()


@pytest.mark.parametrize("name", ["video", "video/weights.safetensors"])
def test_inspect_tells_the_mix(line, capsys, monkeypatch, name):
    root, _ = line
    monkeypatch.chdir(root)
    vldm("inspect", name)
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("mix per layer (1: the image model alone, 0: the temporal layer alone)") + 1
    mixes = [float(word) for text in lines[first:] for word in text.split()[1:]]
    assert len(mixes) >= FRAMES and all(0.4 < mix < 0.6 for mix in mixes)


def test_inspect_of_an_image_stage_has_no_mix(line, capsys):
    root, _ = line
    vldm("inspect", root / "ae")
    out = capsys.readouterr().out
    assert "params autoencoder" in out and "mix" not in out


@pytest.mark.parametrize(
    "change", ["--config.diffusion.target=epsilon", "--config.model.temporal.positions=relative"]
)
def test_sampling_with_the_wrong_meaning_is_refused(line, capsys, change):
    """Every shape fits, but the weights were trained for something else."""
    root, configs = line
    argv = ["sample", f"--workdir={root / 'video'}", f"--out={root / 'no'}", *configs["video"]]
    refused(capsys, [*argv, change], "was made for another experiment")
    assert not (root / "no").exists()


def test_a_network_on_another_autoencoder_is_refused(line, capsys):
    root, configs = line
    params, meta = load_weights(root / "ae" / "weights.safetensors")
    params["encoder"]["conv_in"]["bias"] = params["encoder"]["conv_in"]["bias"] + np.float16(0.5)
    save_weights(root / "other_ae.safetensors", params, meta)
    argv = ["sample", f"--workdir={root / 'image'}", f"--out={root / 'no'}", *configs["image"]]
    change = f"--config.model.autoencoder={root / 'other_ae.safetensors'}"
    refused(capsys, [*argv, change], "trained on the latents of another autoencoder")


@pytest.mark.slow
def test_text_enters_through_the_context(line):
    """A text network on the line's autoencoder: other prompts, other videos."""
    root, _ = line
    values = {"null": np.zeros(1), "cat": np.ones(2), "dog": -np.ones(2)}
    texts = {k: np.tile(v[:, None, None], (1, 3, 16)).astype(np.float32) for k, v in values.items()}
    for name, tokens in texts.items():
        save_file({"context": tokens}, root / f"{name}.safetensors")
    config = load_config(
        str(CONFIGS.parent / "text2video" / "image.py"),
        [
            *FEW_STEPS,
            "--config.sampling.grid.kind=trailing",
            f"--config.model.autoencoder={root / 'ae'}",
            f"--config.model.null_context={root / 'null.safetensors'}",
            f"--config.data.height={HEIGHT}", f"--config.data.width={WIDTH}",
        ],
    )  # fmt: skip
    with config.unlocked():
        config.model.network = TEXT_NETWORK
    stage = make_plan(config).stage
    rng = np.random.default_rng(0)
    shapes = flatten(stage.shapes()["network"])
    network = {k: rng.normal(0, 0.2, v.shape).astype(np.float32) for k, v in shapes.items()}
    params = stage.given() | {"network": unflatten(network)}
    videos, sampler = {}, stage.sampler()
    for name in ("cat", "dog"):
        config.sampling.context = str(root / f"{name}.safetensors")
        cond = {key: jnp.asarray(value) for key, value in stage.request(2).items()}
        videos[name] = np.asarray(sampler(params, jax.random.key(0), jnp.arange(2), cond), int)
    assert np.abs(videos["cat"] - videos["dog"]).max() > 0


def test_what_the_model_sees_is_written(line):
    root, configs = line
    vldm("data", "inspect", f"--out={root / 'look'}", "--count=3", *configs["video"])
    assert (root / "look" / "sheet.png").is_file() and (root / "look" / "clips.mp4").is_file()
