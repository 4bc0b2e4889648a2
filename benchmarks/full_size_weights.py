"""Full-size public classes with random weights, loaded here: differences, times, peak memory.

    python benchmarks/full_size_weights.py --folder FOLDER [NAME ...]

Each network is made and run by its own library in one process and loaded and run by this one in
another, so that peak memory is this library's alone. Needs the test extra, 20 GB of memory and
7 GB of disk; the rows of docs/interop.md came from here. Float32, small inputs: the networks are
full size, the pictures are not.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SD = {"block_out_channels": (320, 640, 1280, 1280)}
UNETS = {
    "sd15_unet": {**SD, "cross_attention_dim": 768, "attention_head_dim": 8},
    "sd21_unet": {
        **SD,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "x4_upscaler_unet": {
        "in_channels": 7,
        "block_out_channels": (256, 512, 512, 1024),
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        "cross_attention_dim": 1024,
        "attention_head_dim": 8,
        "only_cross_attention": (True, True, True, False),
        "use_linear_projection": True,
        "num_class_embeds": 1000,
    },
}
AUTOENCODERS = {"sd_autoencoder": (128, 256, 512, 512), "x4_upscaler_autoencoder": (128, 256, 512)}
TEXTS = {
    "clip_l": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
    },
    "openclip_h": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
    },
}
NAMES = (*TEXTS, *AUTOENCODERS, "svd_autoencoder", *UNETS, "svd_unet")


def make(name):
    """Return the public module with all weights drawn."""
    import diffusers
    import torch
    import transformers

    if name in UNETS:
        module = diffusers.UNet2DConditionModel(**UNETS[name])
    elif name == "svd_unet":
        module = diffusers.UNetSpatioTemporalConditionModel()
    elif name == "svd_autoencoder":
        module = diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=AUTOENCODERS["sd_autoencoder"],
            down_block_types=("DownEncoderBlock2D",) * 4,
            layers_per_block=2,
        )
    elif name in AUTOENCODERS:
        levels = len(AUTOENCODERS[name])
        module = diffusers.AutoencoderKL(
            block_out_channels=AUTOENCODERS[name],
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=2,
        )
    else:
        module = transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXTS[name]))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=draw)
            else:
                parameter.normal_(0, 0.1, generator=draw)
                parameter += 1.0 if "norm" in key and key.endswith("weight") else 0.0
    return module.eval()


def inputs(name):
    """Return the inputs by name, channels last."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, np.float32)

    if name in TEXTS:
        return {"tokens": rng.integers(0, 49408, (2, 77)).astype(np.int32)}
    if "autoencoder" in name:
        frames = (3,) if name == "svd_autoencoder" else ()
        return {"x": rng.uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32),
                "z": normal(1, *frames, 8, 8, 4)}  # fmt: skip
    out = {"time": np.array([500.0], np.float32)}
    if name == "svd_unet":
        ids = np.array([[6, 127, 0.02]], np.float32)
        return out | {"z": normal(1, 3, 16, 16, 8), "context": normal(1, 1, 1024),
                      "added_time_ids": ids}  # fmt: skip
    width = UNETS[name]["cross_attention_dim"]
    out |= {"z": normal(1, 32, 32, UNETS[name].get("in_channels", 4)),
            "context": normal(1, 77, width)}  # fmt: skip
    if name == "x4_upscaler_unet":
        out["class_labels"] = np.array([20], np.int32)
    return out


def reference(name, folder):
    """Save the public module and what it makes of the inputs."""
    import torch

    module = make(name)
    module.save_pretrained(folder / name, max_shard_size="4GB")
    given = {key: torch.from_numpy(array) for key, array in inputs(name).items()}
    with torch.no_grad():
        if name in TEXTS:
            out = {"text": module(given["tokens"].long()).last_hidden_state}
        elif "autoencoder" in name:
            z = given["z"].movedim(-1, -3)
            posterior = module.encode(given["x"].movedim(-1, -3)).latent_dist
            if name == "svd_autoencoder":
                decoded = module.decode(z[0], num_frames=3).sample[None]
            else:
                decoded = module.decode(z).sample
            pair = {"mean": posterior.mean, "logvar": posterior.logvar, "decoded": decoded}
            out = {key: value.movedim(-3, -1) for key, value in pair.items()}
        else:
            z = given.pop("z").movedim(-1, -3)
            time_, context = given.pop("time"), given.pop("context")
            out = {"prediction": module(z, time_, context, **given).sample.movedim(-3, -1)}
    np.savez(folder / f"{name}.npz", **{key: value.numpy() for key, value in out.items()})


def peak():
    """Return the highest resident memory since the last reset, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def ours(name, folder):
    """Load, measure, compare, print one row."""
    import jax

    from vldm_jax.core.paths import flatten
    from vldm_jax.interop import load
    from vldm_jax.interop.find import find

    find(str(folder / name))  # imports and traces what does not depend on the weights' size
    jax.block_until_ready(jax.device_put(np.zeros(8)))
    Path("/proc/self/clear_refs").write_text("5")
    before, start = peak(), time.perf_counter()
    net = load(folder / name)
    jax.block_until_ready(net.params)
    seconds, extra = time.perf_counter() - start, peak() - before
    leaves = flatten(net.params).values()
    size, largest = sum(x.nbytes for x in leaves), max(x.nbytes for x in leaves)
    given = inputs(name)
    if name in TEXTS:
        out = {"text": net(given["tokens"])}
    elif "autoencoder" in name:
        mean, logvar = net.encode(given["x"])
        out = {"mean": mean, "logvar": logvar, "decoded": net.decode(given["z"])}
    else:
        z, time_, context = (given.pop(key) for key in ("z", "time", "context"))
        out = {"prediction": net(z, time_, context, **given)}
    with np.load(folder / f"{name}.npz") as theirs:
        worst = max(
            float(np.abs(np.asarray(out[key]) - theirs[key]).max() / theirs[key].std())
            for key in theirs
        )
    row = {
        "name": name,
        "parameters": sum(x.size for x in leaves),
        "difference": worst,
        "model_gb": size / 1e9,
        "largest_gb": largest / 1e9,
        "peak_gb": extra / 1e9,
        "load_seconds": seconds,
    }
    print(json.dumps(row), flush=True)


def main():
    """Run each network's two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help="networks; default all")
    parser.add_argument("--folder", type=Path, required=True, help="for weights, removed again")
    parser.add_argument("--role", choices=("reference", "ours"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.role:
        return {"reference": reference, "ours": ours}[args.role](args.names[0], args.folder)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    for name in args.names:
        for role in ("reference", "ours"):
            command = [sys.executable, __file__, name, "--folder", args.folder, "--role", role]
            subprocess.run([str(word) for word in command], check=True, env=environment)
        for file in (args.folder / name).iterdir():
            file.unlink()
    return None


if __name__ == "__main__":
    main()
