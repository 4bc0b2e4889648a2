"""`vldm convert` as a user runs it: a pipeline in, a run out, and what goes wrong."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from vldm_jax.checkpoint.weights import load_weights, read_meta, save_weights
from vldm_jax.cli import main as entry
from vldm_jax.cli.flags import load_config
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.files import sha256
from vldm_jax.export import load_program
from vldm_jax.interop import load, save
from vldm_jax.interop.files import archives
from vldm_jax.interop.tokenizer import load_tokenizer
from vldm_jax.stages.table import make_stage

for folder in ("interop", "stages"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))

IMAGE, TEMPORAL = "asset:driving/image.safetensors", "asset:driving/temporal.safetensors"
VIDEO_CONFIG = Path(__file__).parents[2] / "configs" / "driving" / "video.py"


def vldm(*argv):
    """Run a command as the console script does, and insist that it succeeds."""
    assert entry.main([str(word) for word in argv]) == 0


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A Stable Diffusion pipeline's folder, small, with a tokenizer."""
    import reference

    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    reference.sd2(cross_attention_dim=64).save_pretrained(folder / "unet")
    reference.autoencoder().save_pretrained(folder / "vae")
    reference.text_encoder("gelu").save_pretrained(folder / "text_encoder")
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    tokens = ["<|startoftext|>", "<|endoftext|>", "!", "a", "a</w>", "b</w>", "ab</w>"]
    table = {token: number for number, token in enumerate(tokens)}
    (tokenizer / "vocab.json").write_text(json.dumps(table))
    (tokenizer / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    (tokenizer / "added_tokens.json").write_text('{"<toy>": 7}')
    (tokenizer / "tokenizer_config.json").write_text('{"pad_token": "!", "model_max_length": 11}')
    return folder


def test_a_pipeline_comes_in_and_goes_out(pipeline, tmp_path, capsys):
    import reference

    vldm("convert", "import", pipeline, "--out", tmp_path / "in")
    names = {path.name for path in (tmp_path / "in").iterdir()}
    assert names == {
        "unet.safetensors", "autoencoder.safetensors", "text_encoder.safetensors",
        "null_context.safetensors", "tokenizer",
    }  # fmt: skip
    assert "unet.safetensors: " in capsys.readouterr().out
    np.testing.assert_array_equal(load_tokenizer(tmp_path / "in" / "tokenizer")("a <toy>")[0, :4],
                                  [0, 4, 7, 1])  # fmt: skip
    vldm("inspect", tmp_path / "in")
    said = capsys.readouterr().out
    for kind in ("autoencoder", "text_encoder", "unet"):
        assert f"{tmp_path / 'in' / kind}.safetensors: weights of kind '{kind}'" in said
    null = load_file(tmp_path / "in" / "null_context.safetensors")["context"]
    ids = reference.torch.tensor([[0, 1] + [2] * 9])  # start, end, padding
    text = reference.text_encoder("gelu")
    reference.assert_equal(null, text(ids).last_hidden_state.detach())
    vldm("convert", "export", tmp_path / "in" / "unet.safetensors", "--out", tmp_path / "out")
    back = reference.diffusers.UNet2DConditionModel.from_pretrained(tmp_path / "out")
    original = reference.sd2(cross_attention_dim=64).state_dict()
    assert all(reference.torch.equal(t, original[k]) for k, t in back.state_dict().items())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "UNet2DConditionModel.from_pretrained" in card and str(tmp_path) not in card


def test_a_folder_that_holds_anything_is_left_alone(pipeline, tmp_path, capsys):
    """Neither an earlier import, nor the source itself, nor somebody's thesis is replaced."""
    vldm("convert", "import", pipeline, "--part", "vae", "--out", tmp_path / "in")
    before = {path: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    for argv in (
        ("import", pipeline, "--part", "unet", "--out", tmp_path / "in"),
        ("export", tmp_path / "in" / "autoencoder.safetensors", "--out", tmp_path / "in"),
        ("export", IMAGE, "--to", "weights", "--out", tmp_path / "in"),
        ("export", IMAGE, "--to", "program", "--out", tmp_path / "in"),
    ):
        capsys.readouterr()
        assert entry.main(["convert", *map(str, argv)]) == 2
        assert re.search("in exists and holds autoencoder.safetensors", capsys.readouterr().err)
    assert {path: path.read_bytes() for path in (tmp_path / "in").iterdir()} == before
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert entry.main(["convert", "import", IMAGE, "--out", str(tmp_path / "link")]) == 2
    assert "symbolic link" in capsys.readouterr().err


@pytest.fixture(scope="module")
def other_backbone(tmp_path_factory):
    """Another image model of the shipped one's shape, as a DreamBooth model is of its base."""
    params, meta = load_weights(resolve(IMAGE))
    rng = np.random.default_rng(0)
    flat = {
        path: leaf + rng.normal(0, 0.01, leaf.shape).astype(leaf.dtype)
        for path, leaf in paths.flatten(params).items()
    }
    file = tmp_path_factory.mktemp("other") / "dreambooth.safetensors"
    save_weights(file, paths.unflatten(flat), meta)
    return file


@pytest.mark.slow
def test_temporal_layers_move_to_another_backbone(other_backbone, tmp_path, capsys):
    vldm("convert", "import", TEMPORAL, "--onto", other_backbone, "--out", tmp_path / "moved")
    moved = tmp_path / "moved" / "temporal.safetensors"
    there, here = read_meta(resolve(TEMPORAL)), read_meta(moved)
    assert here["backbone"] == {"name": other_backbone.name, "sha256": sha256(other_backbone)}
    assert here["trained_on"] == there["backbone"]
    before, after = (load_file(path) for path in (resolve(TEMPORAL), moved))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    vldm("convert", "import", moved, "--onto", resolve(IMAGE), "--out", tmp_path / "back")
    back = read_meta(tmp_path / "back" / "temporal.safetensors")
    assert back["backbone"] == there["backbone"] == back["trained_on"]
    config = load_config(f"{VIDEO_CONFIG}:tiny", [f"--config.model.backbone={other_backbone}"])
    make_stage(config).load(str(moved))  # refused for the file that was not moved
    override = f"--config.model.backbone={other_backbone}"
    argv = ("sample", "--config", f"{VIDEO_CONFIG}:tiny", override, "--weights", TEMPORAL)
    assert entry.main([*argv, "--out", str(tmp_path / "samples")]) == 2
    assert "convert import" in capsys.readouterr().err


def test_a_move_compares_shapes_and_reads_nothing_of_the_backbone(
    other_backbone, tmp_path, monkeypatch, capsys
):
    import small_files

    seen, read = set(), archives._read_file
    monkeypatch.setattr(
        archives, "_read_file", lambda path, *rest: seen.add(path) or read(path, *rest)
    )
    vldm("convert", "import", TEMPORAL, "--onto", other_backbone, "--out", tmp_path / "moved")
    assert seen == {resolve(TEMPORAL)}
    small_files.write("unet", tmp_path / "small")
    vldm("convert", "import", tmp_path / "small", "--out", tmp_path / "in")
    argv = ["import", TEMPORAL, "--onto", tmp_path / "in" / "unet.safetensors"]
    capsys.readouterr()
    assert entry.main(["convert", *map(str, argv), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "made for a backbone with" in error and "unet.safetensors" in error
    assert not (tmp_path / "out").exists()


def test_temporal_layers_alone_are_exported_with_their_origin(tmp_path):
    vldm("convert", "export", TEMPORAL, "--to", "weights", "--dtype", "float32",
         "--out", tmp_path / "t")  # fmt: skip
    file = tmp_path / "t" / "temporal.safetensors"
    assert read_meta(file)["backbone"] == read_meta(resolve(TEMPORAL))["backbone"]
    assert all(array.dtype == np.float32 for array in load_file(file).values())
    card = (tmp_path / "t" / "README.md").read_text()
    for word in ("steps", "diffusion", "backbone", "sha256"):
        assert word in card


@pytest.fixture(scope="module")
def small_stage(tmp_path_factory):
    """(Words that make the tiny video config a small one, a file of weights for it)."""
    from small_stages import DATA, FRAMES, NETWORK, config_of, leave, overridden

    root = tmp_path_factory.mktemp("stages")
    files = {"autoencoder": root / "autoencoder.safetensors"}
    leave(config_of("autoencoder"), files["autoencoder"])
    image, video = root / "image.safetensors", root / "video.safetensors"
    leave(config_of("image", model=files), image)
    files["backbone"] = image
    leave(config_of("video", model=files), video)
    words = overridden(data=DATA | {"num_frames": FRAMES}, model={"network": NETWORK, **files})
    return [*words, "--config.sampling.steps=2"], video


@pytest.mark.slow
def test_a_sampler_leaves_as_a_program(small_stage, tmp_path):
    changes, weights = small_stage
    vldm("convert", "export", weights, "--to", "program", "--config", f"{VIDEO_CONFIG}:tiny",
         *changes, "--out", tmp_path / "p")  # fmt: skip
    program = load_program(tmp_path / "p")
    assert program.meta["platforms"] == ["cpu", "cuda", "tpu"]
    config = load_config(f"{VIDEO_CONFIG}:tiny", changes)
    stage = make_stage(config)
    params, _ = stage.load(str(weights))
    index, cond = np.arange(2, dtype=np.int32), stage.request(2)
    (videos,) = stage.sampler().in_batches(params, jax.random.key(config.seed), index, cond, 2)
    frames = np.asarray(program(index=index, labels=cond["labels"]))
    assert frames.shape == videos.shape and frames.std() > 10
    # Two programs round differently: a step of a byte here and there.
    assert np.abs(frames.astype(int) - videos.astype(int)).max() <= 1


def random_weights(kind, folder, **changes):
    """A weights file of a small network with random parameters."""
    import small_files

    net, draw = small_files.network(kind, **changes), np.random.default_rng(0)
    params = jax.tree.map(lambda x: draw.normal(0, 0.2, x.shape).astype(x.dtype), net.params)
    save(dataclasses.replace(net, params=params), folder / f"{kind}.safetensors")
    return folder / f"{kind}.safetensors"


@pytest.mark.slow
def test_a_network_with_labels_takes_them_and_no_text(tmp_path):
    one_level = {"channels": [32], "attention": [True], "label_tokens": ["binary", "count"]}
    file = random_weights("unet", tmp_path, **one_level)
    vldm("convert", "export", file, "--to", "program", "--size", "4x4", "--out", tmp_path / "p")
    program = load_program(tmp_path / "p")
    assert set(program.meta["inputs"]) == {"z", "time", "labels"}
    z = np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype(np.float32)
    time, labels = np.array([500.0], np.float32), np.array([[0.0, np.nan]], np.float32)
    ours = np.asarray(load(file)(z, time, labels=labels))
    assert np.abs(program(z=z, time=time, labels=labels) - ours).max() < 1e-4 * ours.std()


def test_a_network_leaves_as_a_program(tmp_path):
    file = random_weights("autoencoder", tmp_path)
    vldm("convert", "export", file, "--to", "program", "--size", "2x3", "--out", tmp_path / "p")
    net = load(file)
    z = np.random.default_rng(0).standard_normal((2, 2, 3, 4)).astype(np.float32)
    decoded = np.asarray(load_program(tmp_path / "p" / "decode")(z=z))
    assert decoded.std() > 0.1
    np.testing.assert_allclose(decoded, net.decode(z), atol=1e-5)
    assert (tmp_path / "p" / "encode" / "program.json").is_file()


BAD = [
    ((), "import or export"),
    (("import", "nothing", "--out", "OUT"), "no such file or folder: 'nothing'"),
    (("import", IMAGE), "--out"),
    (("import", IMAGE, "--out", "OUT", "--part", "vae"), "no part 'vae'; it has unet"),
    (("import", IMAGE, "--out", "OUT", "--fields", "{heads"), "is not JSON"),
    (("import", IMAGE, "--out", "OUT", "--dtype", "int8"), "invalid choice: 'int8'"),
    (("import", IMAGE, "--out", "OUT", "--onto", IMAGE), "--onto is for temporal layers"),
    (("export", TEMPORAL, "--out", "OUT"), "have no class in diffusers, .*--to weights.*--onto"),
    (("export", TEMPORAL, "--out", "OUT", "--onto", IMAGE), "cannot express mix = 'per_frame'"),
    (("export", IMAGE, "--out", "OUT"), "cannot express label_tokens"),
    (("export", IMAGE, "--out", "OUT", "--raw"), "--raw needs a run's workdir"),
    (("export", IMAGE, "--out", "OUT", "--size", "2x2"), "go with --to program"),
    (
        ("export", IMAGE, "--out", "OUT", "--to", "program", "--raw", "--config", "x.py"),
        "--config takes no --raw",
    ),
    (
        ("export", IMAGE, "--out", "OUT", "--to", "program", "--non-finite", "--config", "x.py"),
        "--config takes no --non-finite",
    ),
    (("export", IMAGE, "--out", "OUT", "--to", "program", "--size", "2"), "HEIGHTxWIDTH"),
    (("export", TEMPORAL, "--out", "OUT", "--to", "program"), "no program: give their backbone"),
    (("export", IMAGE, "--out", "OUT", "--colour=red"), "unknown argument '--colour=red'"),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "message"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_bad_input_is_one_line_and_writes_nothing(argv, message, tmp_path, capsys):
    argv = [str(tmp_path / "out") if word == "OUT" else word for word in argv]
    assert entry.main(["convert", *argv]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("vldm: error: ") and err.count("\n") == 1 and out == ""
    assert re.search(message, err), err
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_torch_is_imported(tmp_path):
    """Importing and exporting work where torch is not there."""
    import small_files

    small_files.write("unet", tmp_path / "unet")
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "diffusers", "transformers"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from vldm_jax.cli.main import main
assert main(["convert", "import", "unet", "--out", "in"]) == 0
sys.exit(main(["convert", "export", "in/unet.safetensors", "--out", "out"]))
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "out" / "config.json").is_file()
