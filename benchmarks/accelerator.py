"""What an accelerator computes against the CPU beside it, and how fast a full-size step is there.

    python benchmarks/accelerator.py networks
    python benchmarks/accelerator.py stages --world clips --large large --out out
    python benchmarks/accelerator.py full --batches 4,16,32 --out out

networks: every network with random weights on random inputs; |out - ref| / |ref| against float32 on
the CPU, with float32 products asked for, with the device's default ones, and computed in bfloat16.
stages: 20 steps of the tiny config of every stage by `vldm train`, on the CPU, on the accelerator
and there in bfloat16; the largest relative difference of a step's loss.
full: steps of `configs/driving/video.py`, temporal layers alone on a frozen image model with random
weights, by `vldm train --dry-run`.

CLIPS are of `vldm data build driving --frames 180`, LARGE of `--size 256x512`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.cli.flags import load_config
from vldm_jax.core import paths
from vldm_jax.evals.networks.efficientnet import EfficientNetLite0
from vldm_jax.evals.networks.flow import FlowNet
from vldm_jax.evals.networks.i3d import I3D
from vldm_jax.models import table
from vldm_jax.models.autoencoder import SIZES as AUTOENCODERS
from vldm_jax.models.perceptual import LPIPS
from vldm_jax.models.unet_sizes import SIZES
from vldm_jax.stages.table import make_stage
from vldm_jax.typing import PyTree

STEPS = 20
DRIVING = Path(__file__).parents[1] / "configs/driving"
# Stages whose clips are not the shipped ones.
WORLD = ("prediction",)
LARGE = ("upsampler", "video_upsampler")
STAGES = (
    "autoencoder", "image", "video", "prediction", "interpolation", "decoder", "upsampler",
    "video_upsampler", "detector",
)  # fmt: skip
CPU = {"JAX_PLATFORMS": "cpu"}
WAYS = {
    "cpu": (CPU, "float32"),
    "device": ({"JAX_DEFAULT_MATMUL_PRECISION": "highest"}, "float32"),
    "device, bfloat16": ({}, "bfloat16"),
}


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("networks", "stages", "full"))
    parser.add_argument("--world", type=Path, help="clips of 64x128 and 180 frames")
    parser.add_argument("--large", type=Path, help="clips of 256x512")
    parser.add_argument("--out", type=Path, default=Path("accelerator"))
    parser.add_argument("--batches", default="4,16", help="clips a step, of `full`")
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time, of `stages`")
    args = parser.parse_args()
    args.out = args.out.absolute()
    if args.what == "networks":
        print_networks()
    elif args.what == "stages":
        print_stages(args)
    else:
        print_full(args.out, [int(size) for size in args.batches.split(",")])


# Networks.


def modules() -> Iterator[tuple[str, Any, tuple[Any, ...], bool]]:
    """Yield (name, dtype -> module, shapes of its inputs, whether it is told `train`)."""
    float32 = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    image, text = SIZES["driving_tiny"], SIZES["sd21"]
    video = {**image, "temporal": {"mix": "per_frame", "num_frames": 8}}
    small = {**text, "channels": (64, 128, 128, 128)}
    for name, kind, fields, latent, tokens in (
        ("image U-Net, tiny", "unet", image, (1, 8, 16, 8), None),
        ("video U-Net, tiny", "video_unet", video, (1, 8, 8, 16, 8), None),
        ("text U-Net, SD 2.1's plan", "unet", small, (1, 16, 16, 4), 7),
        ("text video U-Net, same", "video_unet", small, (1, 8, 16, 16, 4), 7),
    ):
        make = lambda dtype, kind=kind, fields=fields: table.module_of(kind, fields, dtype)  # noqa: E731
        yield name, make, make(jnp.float32).example_inputs(latent, tokens), True
    for size, latent in (("sd_f8", (2, 16, 16, 4)), ("svd_f8", (1, 8, 8, 16, 4))):
        make = lambda dtype, size=size: table.module_of("autoencoder", AUTOENCODERS[size], dtype)  # noqa: E731
        yield f"autoencoder {size}", make, make(jnp.float32).example_inputs(latent), False
    yield (
        "detector",
        lambda dtype: table.module_of("detector", {}, dtype),
        (float32(2, 64, 128, 3),),
        False,
    )
    yield "I3D", lambda dtype: I3D(dtype=dtype), (float32(1, 16, 224, 224, 3),), False
    yield (
        "EfficientNet-lite0",
        lambda dtype: EfficientNetLite0(dtype=dtype),
        (float32(2, 224, 224, 3),),
        False,
    )
    yield "LPIPS", lambda dtype: LPIPS(dtype=dtype), (float32(2, 64, 128, 3),) * 2, False
    yield "flow network", lambda dtype: FlowNet(), (float32(2, 64, 128, 3),) * 2, False


def random_like(shapes: PyTree, seed: int, *, weights: bool) -> PyTree:
    """Return random arrays; of weights, kernels that keep the size of what goes through them."""
    random = np.random.default_rng(seed)

    def draw(path: str, leaf: Any) -> np.ndarray:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return np.ones(leaf.shape, leaf.dtype)
        normal = random.standard_normal(leaf.shape).astype(np.float32)
        if not weights:
            return normal
        if len(leaf.shape) < 2:
            return (1.0 if path.endswith("scale") else 0.0) + 0.1 * normal
        return normal / np.sqrt(np.prod(leaf.shape[:-1]))

    return paths.unflatten({path: draw(path, leaf) for path, leaf in paths.flatten(shapes).items()})


def random_case(module: Any, shapes: tuple[Any, ...], how: dict[str, Any]) -> tuple[PyTree, list]:
    """Return random parameters of a module, and random inputs of these shapes."""
    init = lambda *x: module.init(jax.random.key(0), *x, **how)  # noqa: E731
    params = random_like(jax.eval_shape(init, *shapes)["params"], 0, weights=True)
    inputs = random_like({f"{n:02}": x for n, x in enumerate(shapes)}, 1, weights=False)
    return params, [inputs[f"{n:02}"] for n in range(len(shapes))]


def print_networks() -> None:
    """Print a row a network."""
    cpu, device = jax.devices("cpu")[0], jax.devices()[0]
    print(f"| network, {device.device_kind} | float32 | default | bfloat16 |\n|---|---|---|---|")
    for name, make, shapes, told in modules():
        how = {"train": False} if told else {}
        module = make(jnp.float32)
        params, inputs = random_case(module, shapes, how)

        def run(
            module: Any, where: Any, precision: str, params=params, inputs=inputs, how=how
        ) -> Any:
            call = jax.jit(lambda p, *x: module.apply({"params": p}, *x, **how))
            with jax.default_device(where), jax.default_matmul_precision(precision):
                out = call(jax.device_put(params, where), *jax.device_put(inputs, where))
            leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(out)]
            return np.concatenate(leaves)

        reference = run(module, cpu, "highest")
        error = lambda out, ref=reference: np.linalg.norm(out - ref) / np.linalg.norm(ref)  # noqa: E731
        row = [error(run(module, device, how)) for how in ("highest", "default")]
        row.append(error(run(make(jnp.bfloat16), device, "default")))
        print(f"| {name} | " + " | ".join(f"{value:.1e}" for value in row) + " |", flush=True)


# Stages.


def print_stages(args: argparse.Namespace) -> None:
    """Print a row a stage: its losses on the CPU, and the largest relative difference to them."""
    begins = {"video_upsampler": "upsampler"}  # what has to be there before another
    first = [(stage, way) for stage in STAGES if stage not in begins for way in WAYS]
    then = [(stage, way) for stage in begins for way in WAYS]
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with ThreadPoolExecutor(args.jobs) as pool:
        for jobs in (first, then):
            runs = pool.map(lambda job: (job, train(args, *job)), jobs)
            found |= {job: records for job, records in runs if records}
    print("| stage | " + " | ".join(WAYS) + " |\n" + "|---" * (1 + len(WAYS)) + "|")
    for stage in STAGES:
        if (stage, "cpu") not in found:
            continue
        reference = losses(found[stage, "cpu"])
        cells = []
        for way in WAYS:
            if (records := found.get((stage, way))) is None:
                cells.append("failed")
                continue
            difference = np.max(np.abs(losses(records) / reference - 1))
            ends = f"{reference[0]:.4f} to {reference[-1]:.4f}"
            cells.append(ends if way == "cpu" else f"{difference:.1e}")
        print(f"| {stage} | " + " | ".join(cells) + " |", flush=True)


def losses(records: list[dict[str, float]]) -> np.ndarray:
    """Return the loss of every step."""
    return np.array([record["loss"] for record in records])


def train(args: argparse.Namespace, stage: str, way: str) -> list[dict[str, float]] | None:
    """Return the records of 20 steps, or None if they failed; their log stays in --out."""
    environment, precision = WAYS[way]
    workdir = args.out / f"{stage}-{way.replace(', ', '-')}"
    settings = {
        "train.total_steps": STEPS, "train.log_every": 1, "train.precision": precision,
        "train.sample_every": 1000, "optim.warmup_steps": 5, "seed": 0,
    }  # fmt: skip
    if stage in WORLD:
        settings["data.path"] = args.world
    if stage in LARGE:
        settings["data.path"] = args.large
    if stage == "video_upsampler":
        settings["model.backbone"] = args.out / "upsampler-cpu" / "weights.safetensors"
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "vldm_jax", "train", "--workdir", str(workdir)]
    command += ["--config", f"{DRIVING / stage}.py:tiny", *flags]
    log = args.out / f"{workdir.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        done = subprocess.run(
            command, env=os.environ | environment, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        print(f"{stage}, {way}: {log.read_text().strip().splitlines()[-1]}", flush=True)
        return None
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


# The full-size step.


def print_full(out: Path, batches: list[int]) -> None:
    """Write random weights of full size, then take a few steps of each batch on them."""
    latents, backbone = out / "autoencoder.safetensors", out / "image.safetensors"
    out.mkdir(parents=True, exist_ok=True)
    config = load_config(str(DRIVING / "image.py"))
    config.model.autoencoder = str(latents)
    fields = dict(AUTOENCODERS["sd_f8"], latent_channels=4, norm_groups=32, in_channels=3)
    module = table.module_of("autoencoder", fields, jnp.float32)
    shapes = table.abstract_params(module, *module.smallest_inputs(3))
    _write(latents, "autoencoder", module, shapes, latents="random")
    stage = make_stage(config)
    _write(backbone, "unet", stage.network, stage.shapes()["network"], **stage.meaning())
    command = [sys.executable, "-m", "vldm_jax", "train", "--dry-run", "--config"]
    command += [str(DRIVING / "video.py"), "--config.data.cache=memory"]
    command += [f"--config.model.autoencoder={latents}", f"--config.model.backbone={backbone}"]
    for precision in ("bfloat16", "float32"):
        for batch in batches:
            print(f"\n{batch} clips, {precision}", flush=True)
            more = [f"--config.train.batch_size={batch}", f"--config.train.precision={precision}"]
            subprocess.run([*command, *more], check=False)


def _write(path: Path, kind: str, module: Any, shapes: PyTree, **meta: Any) -> None:
    params = random_like(shapes, 0, weights=True)
    save_weights(
        path, params, {"kind": kind, "config": table.fields_of(module), **meta}, dtype="float16"
    )


if __name__ == "__main__":
    main()
