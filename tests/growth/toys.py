"""What a user of the library writes to make it grow: a class each, from outside.

`test_growth.py` gives each its one row and trains or samples with it.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.conditions import Condition
from vldm_jax.conditions.base import Contribution
from vldm_jax.nn.dense import Dense
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.sampling.solvers.base import Solver
from vldm_jax.stages.base import Stage

SIDE = 8


# A solver.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leap(Solver):
    """Go to the predicted x0, part of the way."""

    share: float = 0.5

    def step(self, denoise, x, row, memory):
        x0 = denoise(x, row.sigma)
        return x + self.share * (x0 - x), x0, memory


# A source of data.


@dataclasses.dataclass(frozen=True, eq=False)
class Stripes:
    """Clips of moving stripes; `weather` is a number a clip."""

    num_frames: int
    fps: float
    label_names: tuple = ("night", "cars")
    report = "stripes"
    video = np.arange(8)

    def __len__(self):
        return 8

    def __getitem__(self, key):
        t, x = np.arange(self.num_frames)[:, None, None], np.arange(SIDE)[None, None]
        frames = np.broadcast_to(((x + t + int(key)) % 4 < 2) * 200, (self.num_frames, SIDE, SIDE))
        video = np.repeat(frames[..., None], 3, axis=-1).astype(np.uint8)
        content = {"image": video[0]} if self.num_frames == 1 else {"video": video}
        weather = np.array([key % 3], np.float32)
        labels = np.array([key % 2, key], np.float32)
        return content | {"weather": weather, "labels": labels, "key": np.int32(key)}

    def describe(self, key):
        return f"stripes {key}"


def stripes(path, *, num_frames, fps, **rest):
    """Make the source of a config's section."""
    return Stripes(num_frames, fps)


# A conditioning input.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weather(Condition):
    """A number (b 1) added to the embedding of the time in temporal layers; NaN where dropped."""

    key: ClassVar[str] = "weather"

    def example(self):
        return jax.ShapeDtypeStruct((1, 1), jnp.float32)

    def null(self, value, given):
        return jnp.full_like(value, jnp.nan)

    def embed(self, cond, *, width, token_width):
        value = cond["weather"]
        known = ~jnp.isnan(value)
        features = jnp.concatenate([jnp.where(known, value, 0.0), known.astype(jnp.float32)], 1)
        return Contribution(emb_temporal=Dense(width, name="temporal_condition_weather")(features))


# A family of temporal layers.


class Before(nn.Module):
    """Adds a learned part of the frame before, shifted by the embedding of the time."""

    @nn.compact
    def __call__(self, x, emb, *, maps, frames, image_only, train):
        share = self.param("share", nn.initializers.zeros_init(), (x.shape[-1],))
        video = x.reshape(-1, frames, *x.shape[1:])
        before = jnp.roll(video, 1, axis=1).at[:, 0].set(0.0)
        shift = Dense(x.shape[-1], name="shift", kernel_init=nn.initializers.zeros_init())(emb)
        moved = share.reshape(1, 1, 1, 1, -1) * before
        return (video + moved).reshape(x.shape) + shift[:, None, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeforeSpec:
    """A layer after every residual block."""

    fewest_frames: int = 2
    takes_maps: ClassVar[bool] = False
    made_for: ClassVar[tuple[str, ...]] = ("channels",)

    def residual(self, name, spec):
        return Before(name=name)

    def transformer(self, name, spec):
        return None

    def after_layer(self, name, spec):
        return None


# A network.


class Linear(nn.Module):
    """A denoiser that sees each latent alone."""

    out_channels: int = 4
    dtype: object = jnp.float32
    conditions: ClassVar[tuple] = ()
    temporal: ClassVar[None] = None

    def smallest_inputs(self, channels):
        z = jax.ShapeDtypeStruct((1, 1, 1, channels), jnp.float32)
        return z, jax.ShapeDtypeStruct((1,), jnp.float32), {}

    @nn.compact
    def __call__(self, z, time, cond, *, train=False):
        return Dense(self.out_channels, dtype=self.dtype, name="only")(z)


# A stage.


class MeanStage(Stage):
    """Learns the mean colour of images: a system without autoencoder, noise or network."""

    model_keys = ("kind", "network", "init")
    objective_keys = ()
    needs = ("image",)
    files: ClassVar[dict] = {}

    def shapes(self):
        return {"mean": {"colour": jax.ShapeDtypeStruct((3,), jnp.float32)}}

    def init(self, key):
        return {"mean": {"colour": jnp.zeros(3)}}

    def loss(self, params, batch, key, step):
        error = to_pixels(batch["image"]) - params["mean"]["colour"].reshape(1, 1, 1, 3)
        return jnp.mean(error**2), {}

    def preview(self, params, source, count):
        colour = np.asarray(params["mean"]["colour"] * 127.5 + 127.5)
        return np.broadcast_to(colour.clip(0, 255).astype(np.uint8), (count, 1, SIDE, SIDE, 3))

    def export(self, path, params, trained, steps, source):
        save_weights(path, params["mean"], {"kind": "mean", "config": {}, "steps": steps})
