"""From noise to frames: what a stage, a chain of stages, an evaluation and a notebook sample with.

    noise -> lax.scan over solver steps, guidance pair as one batch -> z -> decoder -> uint8

A sampler is the parts and nothing else: no config, no parameters, no batch size. It is traceable;
called, it is one compiled program whose results stay on the device; `in_batches` splits each batch
over the devices of this process. A sample's noise is drawn from (key, stream, index): it does not
depend on the batch or the device that the sample is in, and no two stages draw the same, because
each has a stream of its own name.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.guidance import guided
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.parallel.mesh import make_mesh, replicate
from vldm_jax.parallel.split import filled, placed, split_over
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.noise import sample_keys, sample_noise
from vldm_jax.sampling.solvers.base import Solver
from vldm_jax.typing import Array, Bool, Conditioning, Float, Int, Key, PyTree, UInt8


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sampler:
    """The parts that make samples.

    Attributes:
        network: (params, z (b [t] h w c), time (b), cond) -> prediction, shape of z.
        decode: (params, z (b [t] h w c)) -> frames (b [t] H W 3), about [-1, 1].
        drop: cond -> the same with every condition dropped; asked only if there is guidance.
        schedule: noise schedule that the network was trained with.
        target: "epsilon", "v" or "x0": what it predicts.
        solver: the stepping rule.
        grid: (s + 1) decreasing sigmas, from `sampling.grids`.
        guidance: scale of classifier-free guidance; 1 is none, at half the cost.
        shape: ([t] h w c) of one sample's z.
        name: of the noise stream.
    """

    network: Callable[[PyTree, Array, Array, Conditioning], Array]
    decode: Callable[[PyTree, Array], Array]
    drop: Callable[[Conditioning], Conditioning]
    schedule: Schedule
    target: str
    solver: Solver
    grid: Float[np.ndarray, " stops"]
    guidance: float | int
    shape: tuple[int, ...]
    name: str

    def latents(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> Float[Array, "b ..."]:
        """Return z of the samples with these indices; traceable.

        Args:
            params: what `network` and `decode` are called with.
            key: of the run, `jax.random.key(seed)`.
            index: numbers of the samples; noise belongs to them.
            cond: what the samples are to be, every array leading with b.

        Raises:
            InputError: if the target cannot be sampled with the schedule.
        """
        # Not every condition knows its null value: it is asked for only where it is used.
        null = cond if self.guidance == 1 else self.drop(cond)
        predict = guided(functools.partial(self.network, params), cond, null, self.guidance)
        return sample(
            make_denoiser(predict, self.schedule, self.target),
            self.solver,
            self.grid,
            sample_noise(
                sample_keys(stream(key, f"{self.name} noise"), index), (*index.shape, *self.shape)
            ),
            sample_keys(stream(key, f"{self.name} solver"), index),
        )

    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return frames (t = 1 for images), and which samples are finite; as `latents`."""
        z = self.latents(params, key, index, cond)
        finite = jnp.all(jnp.isfinite(z), axis=tuple(range(1, z.ndim)))

        def decode(one: Array) -> tuple[Array, Array]:
            x = self.decode(params, one[None])[0]
            x = x if x.ndim == 4 else x[None]
            return to_uint8(x), jnp.all(jnp.isfinite(x))

        pixels, decoded = jax.lax.map(decode, z)  # a sample at a time: pixels are large
        return pixels, finite & decoded

    def __call__(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> UInt8[Array, "b t H W 3"]:
        """Return frames on the device, compiled once a batch size; as `latents`.

        Raises:
            InputError: if a sample is not finite: the weights are broken.
        """
        frames, finite = self._compiled(params, key, index, cond)
        _check_finite(np.asarray(index), np.asarray(finite))
        return frames

    def in_batches(
        self,
        params: PyTree,
        key: Key,
        index: Int[np.ndarray, " n"],
        cond: Conditioning,
        size: int,
        devices: Sequence[jax.Device] | None = None,
    ) -> Iterator[UInt8[np.ndarray, "b t H W 3"]]:
        """Yield the frames of many samples on the host, at most `size` at a time, in order.

        Args:
            params: as in `latents`.
            key: as in `latents`.
            index: numbers of the samples.
            cond: every array leading with n.
            size: samples in one call, over all devices; the last batch is filled up, so that one
                program serves all.
            devices: of this process, which share a batch: no more are used than it has samples.
                Each holds the parameters. None for all.

        Raises:
            InputError: as calling it does.
        """
        count = len(index)
        size = min(size, count)
        used = tuple(devices or jax.local_devices())[:size]
        run = self._split(used)
        params, key = replicate((params, key), make_mesh(used))
        for start in range(0, count, size):
            left = min(size, count - start)
            rows = np.arange(start, start + filled(size, len(used))) % count
            batch = {name: array[rows] for name, array in cond.items()}
            frames, finite = run(params, key, *placed((index[rows], batch), used))
            _check_finite(index[rows][:left], np.asarray(finite)[:left])
            yield np.asarray(frames)[:left]

    @functools.cached_property
    def _compiled(self) -> Callable:
        return jax.jit(self.frames)

    @functools.cached_property
    def _split(self) -> Callable[[tuple[jax.Device, ...]], Callable]:
        """Compiled programs, a set of devices each."""
        return functools.cache(lambda devices: split_over(self.frames, devices, whole=2))


def _check_finite(index: Int[np.ndarray, " b"], finite: Bool[np.ndarray, " b"]) -> None:
    if not finite.all():
        bad = index[~finite].tolist()
        raise InputError(
            f"samples {bad} are not finite numbers: the weights are damaged, or were trained "
            "for another diffusion or precision"
        )


def to_uint8(x: Float[Array, "*b h w c"]) -> UInt8[Array, "*b h w c"]:
    """Return pixels in [-1, 1] as bytes, clipped."""
    return jnp.round((jnp.clip(x, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def spread(values: Mapping[str, Any], count: int, first: int = 0) -> Conditioning:
    """Return each of a few values in turn for `count` samples: (n ...) -> (count ...).

    Args:
        values: arrays (n ...) by the key of their condition; n may differ.
        count: number of samples.
        first: number of the first sample, which takes row `first % n`.
    """
    index = first + np.arange(count)
    return {key: np.asarray(rows)[index % len(rows)] for key, rows in values.items()}
