"""A video run of a few hundred parameters: what the tests of the step, the loop and resuming train.

Also a program: `python tiny_training.py WORKDIR TOTAL_STEPS SECONDS_A_BATCH` trains it with
checkpoints every 3 steps, for the tests that kill a process.
"""

import dataclasses
import functools
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    sys.path.insert(0, str(Path(__file__).parents[2]))

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.checkpoint.manager import Checkpoints
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.losses import Diffusion
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.parallel.mesh import make_mesh, replicate, shard_batch
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.stages.denoising_loss import denoising_loss
from vldm_jax.stages.latents import sample_posterior
from vldm_jax.stages.temporal import summarise
from vldm_jax.training.loop import fit
from vldm_jax.training.optimiser import make_optimiser, make_schedule
from vldm_jax.training.state import create_state, split_params
from vldm_jax.training.step import Update, make_step
from vldm_jax.training.timetable import Timetable

RULES = (
    ("^autoencoder/", "frozen"),
    ("temporal.*mix", "mix"),
    ("temporal", "temporal"),
    ("", "frozen"),
)
GROUPS = {"temporal": (1.0, 1.0), "mix": (1.0, 0.0)}
CONFIG = {"seed": 0, "optim": {"lr": 1e-2}, "train": {"total_steps": 12, "rules": RULES}}
BATCH = 8


class Net(nn.Module):
    """A frozen layer, a temporal one with its mix, a frozen one; labels shift the input."""

    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, z, time, cond):
        known = jnp.nan_to_num(cond["labels"]).mean(axis=1).reshape(-1, 1, 1, 1, 1)
        h = nn.Dense(8, name="spatial_in", dtype=self.dtype)(z + 0.1 * known)
        temporal = nn.Conv(8, (3, 1, 1), name="temporal_conv", dtype=self.dtype)(h)
        mix = nn.sigmoid(self.param("temporal_mix", nn.initializers.zeros_init(), ()))
        h = nn.silu(mix * h + (1 - mix) * temporal)
        return nn.Dense(z.shape[-1], name="spatial_out", dtype=self.dtype)(h).astype(jnp.float32)


class Loader:
    """Batches that follow from their number; `position` batches were given out."""

    def __init__(self, seconds=0.0):
        self.position = 0
        self.seconds = seconds

    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(self.seconds)
        batch = make_batch(self.position)
        self.position += 1
        return batch

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]


def make_batch(seed, size=BATCH):
    random = np.random.default_rng(seed)
    return {
        "video": random.integers(0, 256, (size, 3, 4, 4, 3), dtype=np.uint8),
        "labels": random.normal(size=(size, 2)).astype(np.float32),
        "id": np.array(["clip"] * size),
    }


def encode(params, x):
    mean = x[..., :2] * params["scale"]
    return mean, jnp.full_like(mean, -2.0)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Denoising of encoded clips, as a video stage does it."""

    dtype: object = jnp.float32
    needs = ("video", "labels")

    def predict(self, params, z, time, cond, key=None):
        return Net(dtype=self.dtype).apply({"params": params}, z, time, cond)

    def loss(self, params, batch, key, step):
        mean, logvar = encode(params["autoencoder"], to_pixels(batch["video"]))
        z = jax.lax.stop_gradient(0.5 * sample_posterior(mean, logvar, stream(key, "posterior")))
        diffusion = Diffusion(schedule=ScaledLinearSchedule(), target="v")
        drop = jax.random.bernoulli(stream(key, "drop"), 0.1, (len(batch["labels"]), 1))
        cond = {"labels": jnp.where(drop, jnp.nan, batch["labels"])}
        network = params["network"]
        loss, metrics = denoising_loss(self.predict, diffusion, network, z, cond, key)
        return loss, metrics | summarise({"temporal": nn.sigmoid(network["temporal_mix"])})


def make_objective(dtype=jnp.float32):
    return Objective(dtype=dtype)


@functools.cache
def make_params():
    cond = {"labels": jnp.zeros((1, 2))}
    init = jax.jit(lambda key, z: Net().init(key, z, jnp.zeros(1), cond)["params"])
    network = init(jax.random.key(0), jnp.zeros((1, 3, 4, 4, 2)))
    return {"network": jax.device_get(network), "autoencoder": {"scale": np.float32(1.0)}}


def make_run(*, rules=RULES, groups=GROUPS, objective=None, lr=1e-2, mesh=None, **step_fields):
    """Return (step, state, frozen, mesh, root key, tx) of a run placed on a mesh."""
    schedule = make_schedule(lr=lr, warmup_steps=2, schedule="constant", total_steps=100)
    tx = make_optimiser(
        rules=rules, groups=groups, learning_rate=schedule, weight_decay=0.01, clip_norm=1.0
    )
    trainable, frozen = split_params(make_params(), rules)
    mesh = make_mesh(devices=jax.devices()[:1]) if mesh is None else mesh
    fields = {"ema_decay": 0.9} | step_fields
    step = make_step(objective or make_objective(), tx, learning_rate=schedule, **fields)
    state = replicate(create_state(trainable, tx, ema=fields["ema_decay"] is not None), mesh)
    root_key = replicate(jax.random.key(0), mesh)
    return step, state, replicate(frozen, mesh), mesh, root_key, tx


@functools.cache
def default_run():
    return make_run()


def train(
    workdir,
    total_steps,
    *,
    config=CONFIG,
    keep=2,
    run=None,
    loader=None,
    sample_hook=None,
    evaluate_hook=None,
    **when,
):
    """Train for real, with checkpoints, in a workdir; return (state, loader)."""
    step, _, frozen, mesh, root_key, tx = run or default_run()
    # The step gives its state away, so every run makes its own; the compiled step is shared.
    state = replicate(create_state(split_params(make_params(), RULES)[0], tx), mesh)
    loader = loader or Loader()
    update = Update(
        step=step,
        frozen=frozen,
        root_key=root_key,
        place=functools.partial(shard_batch, mesh=mesh, keys=make_objective().needs),
        batch_size=BATCH,
    )
    checkpoints = Checkpoints(Path(workdir) / "checkpoints", config=config, keep=keep)
    try:
        state = fit(
            update,
            state,
            loader,
            Timetable(total_steps=total_steps, **({"log_every": 2, "save_every": 3} | when)),
            str(workdir),
            checkpoints=checkpoints,
            sample_hook=sample_hook,
            evaluate_hook=evaluate_hook,
            tensorboard=False,
        )
    finally:
        checkpoints.close()
    return state, loader


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), loader=Loader(float(sys.argv[3])))
