"""What both upsamplers share: patches, noised low-resolution frames, samples made of real clips.

    y = a random patch of 4p x 4p pixels, the same of all frames of a clip
    c = alpha down4(y) + sigma eps',   time of this noise ~ U{0 .. low_noise}, one a clip       (1)
    the denoising loss of z0 = y, or its latents, told c beside z and the time of its noise     (2)

z0 may also be what bicubic enlargement of down4(y) lacks of y (`space.py`, "residual").

c is resized to the size of z: that of the pixels; or as it is beside latents, or blocks of pixels,
of a quarter of that size. The time reaches the network as the condition "low_res_noise", or as
class labels in Stable Diffusion's x4 upscaler.

Trained on patches, used on whole frames (`sampling/upsampler.py`): an upsampler acts locally, so
its network has no attention at high resolution. In evaluations and previews, samples are made of
real clips whose low-resolution version is given.

Source: Align your Latents, arXiv:2304.08818, Sec. 3.4, Eq. 5. How far the noise goes is not told
there: 350, as Stable Diffusion's x4 upscaler (up to 349).
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.conditions import Condition
from vldm_jax.conditions.class_labels import ClassLabels
from vldm_jax.conditions.low_res_noise import LowResNoise
from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.data.source import folder_source
from vldm_jax.diffusion.process import noised
from vldm_jax.sampling.bicubic import Bicubic
from vldm_jax.sampling.maker import FrameMaker, to_pixels
from vldm_jax.sampling.sampler import spread
from vldm_jax.sampling.upsampler import Upsampler
from vldm_jax.sampling.upsampling import FACTOR, LOW, downsample, enlarge
from vldm_jax.stages.denoising import DENOISE, DenoisingStage
from vldm_jax.stages.space import PixelSpace, ResidualSpace, Space
from vldm_jax.typing import Array, Conditioning, Float, Int, Key, PyTree, Shaped, UInt8

METHODS = (DENOISE, "bicubic")


class UpsamplingStage(DenoisingStage):
    """Denoising of frames whose low-resolution version is given."""

    objective_keys = (*DenoisingStage.objective_keys, "patch", "low_noise")
    of_pixels = (PixelSpace, ResidualSpace)
    reconstructs = True

    def __init__(self, config: ConfigDict) -> None:
        super().__init__(config)
        if whole := [condition.key for condition in self.conditions if condition.of_image]:
            raise InputError(
                f"config.model.network.more_conditions: {whole[0]} are of a whole image, an "
                "upsampler sees patches: leave them out"
            )
        objective, sampling = config.objective, config.sampling
        steps = self.diffusion.schedule.num_steps
        classes = self.level.num_classes if isinstance(self.level, ClassLabels) else steps
        if objective.low_noise >= min(steps, classes):
            raise InputError(
                f"config.objective.low_noise={objective.low_noise} must be a time of the diffusion "
                f"that the network knows, from 0 (none) to {min(steps, classes) - 1}"
            )
        if sampling.low_noise > objective.low_noise:
            raise InputError(
                f"config.sampling.low_noise={sampling.low_noise} is more than the network learns, "
                f"config.objective.low_noise={objective.low_noise}: set at most that"
            )
        if sampling.method not in METHODS:
            raise InputError(
                f"config.sampling.method={sampling.method!r}: choose one of {', '.join(METHODS)}"
            )
        if sampling.overlap > sampling.chunk // 2:
            raise InputError(
                f"config.sampling.overlap={sampling.overlap} must be at most half the frames of a "
                f"chunk, config.sampling.chunk={sampling.chunk}"
            )

    @property
    def level(self) -> Condition:
        """The condition that tells how much noise is on the low-resolution frames.

        Raises:
            InputError: if the network has none.
        """
        for condition in self.network.conditions:
            if condition.key in (LowResNoise.key, ClassLabels.key):
                return condition
        raise InputError(
            "an upsampler is told the noise on its low-resolution frames: give its network "
            "{'kind': 'low_res_noise'} in config.model.network.more_conditions, or num_classes"
        )

    @property
    def asked_for(self) -> tuple[Condition, ...]:
        """As of every denoising stage, without the noise level, which the stage draws."""
        return tuple(c for c in super().asked_for if c.key != self.level.key)

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of a batch that `loss` reads: pixels, of which patches are cut."""
        return (self.frames, *(condition.key for condition in self.asked_for))

    @property
    def inputs(self) -> tuple[Any, ...]:
        """Shapes of the smallest inputs; low-resolution frames stand beside z."""
        z, time, cond = super().inputs
        beside = jax.ShapeDtypeStruct((*z.shape[:-1], 3), z.dtype)
        return z, time, {**cond, "concat": beside}

    @functools.cached_property
    def space(self) -> Space:
        """What the network denoises; raises if patches, or tiles, cannot be its."""
        space = super().space
        side = space.factor * self.inputs[0].shape[-2]
        data, patch = self.config.data, self.config.objective.patch
        if patch % side or patch % FACTOR or patch > min(data.height, data.width):
            raise InputError(
                f"config.objective.patch={patch} must be a multiple of {np.lcm(side, FACTOR)}, "
                f"what the network halves and the factor of {FACTOR}, and fit into frames of "
                f"{data.height}x{data.width}"
            )
        tile = self.config.sampling.tile
        if space.decodes_clips or self.config.sampling.decode.split:
            raise InputError(
                "upsampled frames are decoded one by one: give config.model.autoencoder without a "
                "temporal decoder, and leave config.sampling.decode.split False"
            )
        good = isinstance(tile, tuple) and len(tile) in (0, 2)
        if not good or any(type(one) is not int or one < 1 or one % side for one in tile):
            raise InputError(
                f"config.sampling.tile={tile!r} must be height and width in pixels, multiples of "
                f"{side}: as ({8 * side}, {8 * side}); () for none"
            )
        return space

    # What it learns.

    def loss(
        self, params: PyTree, batch: dict[str, Any], key: Key, step: int | Int[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Any]]:
        """Return the denoising loss of random patches, (2)."""
        size = self.config.objective.patch
        patches = random_patches(batch[self.frames], stream(key, "patch"), size)
        return super().loss(params, {**batch, self.frames: patches}, key, step)

    def of_clip(
        self, batch: dict[str, Any], z: Float[Array, "b *t h w c"], key: Key
    ) -> Conditioning:
        """Return the noised low-resolution frames and the time of their noise, (1)."""
        low = downsample(to_pixels(batch[self.frames]))
        times = self.config.objective.low_noise + 1
        time = jax.random.randint(stream(key, "low time"), (len(z),), 0, times)
        eps = jax.random.normal(stream(key, "low noise"), low.shape, jnp.float32)
        return self.told(noised(low, eps, time, self.diffusion.schedule), time, z.shape[-3:-1])

    def told(
        self, low: Float[Array, "b *t h w 3"], time: Int[Array, " b"], size: tuple[int, ...]
    ) -> Conditioning:
        """Return what the network is told of low-resolution frames, as many rows as z."""
        kind = self.level.example().dtype
        return {"concat": enlarge(low, *size), self.level.key: time.astype(kind)}

    # What it makes.

    def sampler(self) -> FrameMaker:
        """Return what upsamples, by `config.sampling`."""
        sampling = self.config.sampling
        if sampling.method == "bicubic":
            return Bicubic()
        made, factor = super().sampler(), self.space.factor
        tile = tuple(one // factor for one in sampling.tile)
        return Upsampler(
            network=self.of_video(made.network), decode=self.decode, drop=made.drop,
            tell=self.told, schedule=made.schedule, target=made.target, solver=made.solver,
            grid=made.grid, guidance=made.guidance, pixels=factor,
            channels=self.network.out_channels, low_noise=sampling.low_noise,
            chunk=sampling.chunk, overlap=sampling.overlap, tile=tile or None,
            tile_overlap=min(tile, default=0) // 4, name=made.name,
        )  # fmt: skip

    def decode(
        self, params: PyTree, z: Float[Array, "b h w c"], low: Float[Array, "b h2 w2 3"]
    ) -> Float[Array, "b H W 3"]:
        """Return frames of z, about [-1, 1]; low is what a residual is one of."""
        return self.space.decode(params, z) + self.space.beneath(low)

    def of_video(self, network: Any) -> Any:
        """Return a network of videos, of one of what the stage trains."""
        return network

    def request(
        self, count: int, *, first: int = 0, unknown: Mapping[str, Sequence[str]] | None = None
    ) -> Conditioning:
        """As of every denoising stage; and videos of `config.sampling.low`, in turn.

        Raises:
            InputError: if they are missing, too short or too small.
        """
        asked = super().request(count, first=first, unknown=unknown)
        data, low = self.config.data, self.config.sampling.low
        if low is None:
            return asked
        source = folder_source(
            low, height=data.height // FACTOR, width=data.width // FACTOR, fps=data.fps,
            num_frames=data.num_frames, stride=data.num_frames,
        )  # fmt: skip
        videos = np.stack([_frames(source[i]) for i in range(min(count + first, len(source)))])
        return {**asked, **spread({LOW: videos}, count, first)}

    def asked_of(
        self, examples: Sequence[Mapping[str, Any]], unknown: Mapping[str, Sequence[str]]
    ) -> Conditioning:
        """As of every denoising stage; and the low-resolution version of the examples."""
        low = np.stack([low_version(_frames(one)) for one in examples])
        return {**super().asked_of(examples, unknown), LOW: low}

    @property
    def conditioning_frames(self) -> int:
        """All frames of a real clip are given, in low resolution."""
        return self.config.data.num_frames

    def describe(self, cond: Conditioning) -> dict[str, Any]:
        """As of every denoising stage; and the SHA-256 of the low-resolution frames.

        Raises:
            InputError: if there are none.
        """
        if LOW not in cond:
            raise InputError(
                "an upsampler makes videos of smaller ones: give them, --config.sampling.low=FOLDER"
            )
        digest = hashlib.sha256(np.ascontiguousarray(cond[LOW])).hexdigest()
        return {**super().describe(cond), "low_sha256": digest}

    def about(self, source: Any) -> dict[str, Any]:
        """As of every denoising stage; and that it upsamples, and how much noise it knows."""
        objective = self.config.objective
        own = {"factor": FACTOR, "low_noise": objective.low_noise, "patch": objective.patch}
        return {**super().about(source), "upsampler": own}


def random_patches(
    frames: Shaped[Array, "b *t h w 3"], key: Key, size: int
) -> Shaped[Array, "b *t {size} {size} 3"]:
    """Return a patch of each example, at a random place that is the same in all its frames."""
    count, (height, width) = len(frames), frames.shape[-3:-1]
    tops = jax.random.randint(stream(key, "rows"), (count,), 0, height - size + 1)
    lefts = jax.random.randint(stream(key, "columns"), (count,), 0, width - size + 1)

    def one(frame: Array, top: Array, left: Array) -> Array:
        begin = (*(0,) * (frame.ndim - 3), top, left, 0)
        return jax.lax.dynamic_slice(frame, begin, (*frame.shape[:-3], size, size, 3))

    return jax.vmap(one)(frames, tops, lefts)


def low_version(frames: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "t h2 w2 3"]:
    """Return frames at a quarter of their size, as bytes: what an upsampler is given."""
    return np.asarray(_low(frames))


@jax.jit
def _low(frames: Array) -> Array:
    low = downsample(to_pixels(jnp.asarray(frames)))
    return jnp.round((low + 1.0) * 127.5).astype(jnp.uint8)


def _frames(example: Mapping[str, Any]) -> UInt8[np.ndarray, "t h w 3"]:
    return example["video"] if "video" in example else example["image"][None]
