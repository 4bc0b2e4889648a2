"""The full-size stacks on shapes: every part's program is traced, none of its arrays is made.

Weights files have the headers of full-size ones and hold nothing: files with holes.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from vldm_jax.checkpoint.weights import METADATA_KEY
from vldm_jax.cli.flags import load_config
from vldm_jax.cli.stack import parts_of_stack
from vldm_jax.core import paths
from vldm_jax.models import table
from vldm_jax.models.autoencoder import SIZES, Autoencoder
from vldm_jax.sampling.upsampling import FACTOR
from vldm_jax.stack import programs
from vldm_jax.stack.fits import make_stack_plan

ROOT = Path(__file__).parents[2]
FRAMES = 113
KEYS = 8

pytestmark = pytest.mark.slow


def hollow(path, kind, module, shapes, **meta):
    """Write a weights file of these shapes, float16, whose arrays take no room on the disk."""
    header, end = {}, 0
    for name, leaf in paths.flatten(shapes).items():
        size = 2 * int(np.prod(leaf.shape, dtype=np.int64))
        header[name] = {
            "dtype": "F16", "shape": list(leaf.shape), "data_offsets": [end, end + size],
        }  # fmt: skip
        end += size
    about = {"kind": kind, "config": table.fields_of(module), **meta}
    text = json.dumps({"__metadata__": {METADATA_KEY: json.dumps(about)}, **header}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def autoencoder(path, size, **fields):
    module = Autoencoder(**SIZES[size], norm_groups=32, **fields)
    shapes = table.abstract_params(module, *module.smallest_inputs(3))
    hollow(path, "autoencoder", module, shapes, latents=size)


def trained(part, kind):
    """Write what the stage of a part leaves behind, and the image model that it stands on."""
    stage = part.stage
    shapes = stage.shapes()["autoencoder" if kind == "autoencoder" else "network"]
    if kind == "autoencoder":
        whole = table.abstract_params(stage.network, stage.example)
        hollow(Path(part.weights), kind, stage.network, whole, latents="sd_f8")
        return
    hollow(Path(part.weights), kind, stage.network, shapes, **stage.meaning())
    backbone = part.config.model.backbone if "backbone" in part.config.model else None
    if backbone:
        image = {k: v for k, v in table.fields_of(stage.network).items() if k != "temporal"}
        module = table.module_of("unet", image, jnp.float32)
        hollow(Path(backbone), "unet", module, table.spatial_part(shapes))


def plan_of(name, folder, monkeypatch, seconds):
    monkeypatch.chdir(folder)
    file = f"{ROOT / 'configs' / name / 'stack'}.py"
    parts = parts_of_stack(file, load_config(file))
    return parts, lambda: make_stack_plan(parts, seconds)


def counted(tree):
    return sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in jax.tree.leaves(tree))


def in_millions(found):
    return {name: round(count / 1e6) for name, (_, count) in found.items()}


@pytest.fixture
def on_shapes(monkeypatch):
    """Parameters of a part as shapes: those that its stage and its autoencoder would have."""

    def shapes_of(file):
        config = table.module_of(file.meta["kind"], file.meta["config"], jnp.float32)
        return table.abstract_params(config, *config.smallest_inputs(3))

    def read(part):
        stage = part.stage
        if part.kind == "decoder":
            return stage.split(table.abstract_params(stage.network, stage.example)), {}
        given = {key: shapes_of(file) for key, file in stage.space.files.items()}
        return {"network": stage.shapes()["network"], **given}, {}

    monkeypatch.setattr(programs, "read", read)


def results(plan, functions):
    """Trace every part with a batch of one; return its result's shape and its parameters."""
    found = {}
    for name, make in functions.items():
        function = make()
        made = jax.eval_shape(function.call, function.params, **function.inputs)
        found[name] = (made.shape, counted(function.params))
    return found


def test_driving(tmp_path, monkeypatch, on_shapes):
    parts, plan = plan_of("driving", tmp_path, monkeypatch, FRAMES / 30)
    by = {part.name: part for part in parts}
    autoencoder(Path(by["keyframes"].config.model.autoencoder), "sd_f8", latent_channels=4)
    trained(by["first"], "unet")
    for name in ("keyframes", "interpolate", "upsample"):
        trained(by[name], "temporal")
    trained(by["decode"], "autoencoder")
    plan = plan()
    assert (plan.frames, plan.key_frames, plan.fps) == (FRAMES, KEYS, 30.0)
    found = results(plan, programs.stack_functions(plan, 0, FRAMES))
    assert found["first"][0] == (1, 16, 32, 4)
    assert found["keyframes"][0] == (1, 8, 16, 32, 4)
    assert found["interpolate"][0] == (1, 5, 16, 32, 4)
    assert found["decode"][0] == (1, FRAMES, 128, 256, 3)
    assert found["upsample"][0] == (1, FRAMES, 512, 1024, 3)
    assert in_millions(found) == {
        "first": 396, "keyframes": 773, "interpolate": 774, "decode": 64, "upsample": 134,
    }  # fmt: skip


def test_text_to_video(tmp_path, monkeypatch, on_shapes):
    parts, plan = plan_of("text2video", tmp_path, monkeypatch, FRAMES / 30)
    by = {part.name: part for part in parts}
    config = by["keyframes"].config
    for path in (config.model.null_context, config.sampling.context):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file({"context": np.zeros((1, 77, 1024), np.float32)}, path)
    autoencoder(Path(config.model.autoencoder), "sd_f8", latent_channels=4)
    autoencoder(Path(by["upsample"].config.model.autoencoder), "upscaler_f4", latent_channels=4)
    trained(by["keyframes"], "temporal")
    trained(by["interpolate"], "video_unet")
    trained(by["upsample"], "temporal")
    trained(by["decode"], "autoencoder")
    plan = plan()
    assert (plan.frames, plan.key_frames, plan.fps) == (FRAMES, KEYS, 30.0)
    found = results(plan, programs.stack_functions(plan, 0, FRAMES))
    assert found["keyframes"][0] == (1, 8, 40, 64, 4)
    assert found["interpolate"][0] == (1, 5, 40, 64, 4)
    assert found["decode"][0] == (1, FRAMES, 320, 512, 3)
    assert found["upsample"][0] == (1, FRAMES, FACTOR * 320, FACTOR * 512, 3)
    # 865M and 656M in the paper; 473M and 449M, of which ours are 438M, and a decoder of 33M.
    assert in_millions(found) == {
        "keyframes": 1522, "interpolate": 1524, "decode": 64, "upsample": 944,
    }  # fmt: skip
