"""From noise to frames: what a stage, a chain of stages, an evaluation and a notebook sample with.

    noise -> lax.scan over solver steps, all guidance as one batch -> z -> decoder -> uint8

A sampler is the parts and nothing else: no config, no parameters, no batch size. A sample's noise
is drawn from (key, stream, index): it does not depend on the batch or the device that the sample is
in, and no two stages draw the same, because each has a stream of its own name.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from vldm_jax.core.rng import stream
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.guidance import Away, guided
from vldm_jax.diffusion.schedules import Schedule
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.maker import FrameMaker, to_frames
from vldm_jax.sampling.noise import sample_keys, sample_noise
from vldm_jax.sampling.solvers.base import Solver
from vldm_jax.typing import Array, Bool, Conditioning, Float, Int, Key, PyTree, UInt8

Finish: TypeAlias = Callable[[Array], Array]
Tell: TypeAlias = Callable[[PyTree, Key, Array, Conditioning], tuple[Conditioning, Finish]]


class Guidance(NamedTuple):
    """Guidance away from some conditions being unknown.

    Attributes:
        keys: of these conditions; what a sample is not told is not guided.
        scale: 1 is none, at none of the cost.
    """

    keys: tuple[str, ...]
    scale: float | int


def as_asked(
    params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
) -> tuple[Conditioning, Finish]:
    """Return a conditioning as it is, and z as it comes: the usual `Sampler.tell`."""
    del params, key, index
    return cond, lambda z: z


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sampler(FrameMaker):
    """The parts that make samples.

    Attributes:
        network: (params, z (b [t] h w c), time (b), cond) -> prediction, shape of z.
        decode: (params, z (b [t] h w c)) -> frames (b [t] H W 3), about [-1, 1].
        drop: (cond, keys) -> the same with these conditions dropped; asked only if there is
            guidance.
        schedule: noise schedule that the network was trained with.
        target: "epsilon", "v" or "x0": what it predicts.
        solver: the stepping rule.
        grid: (s + 1) decreasing sigmas, from `sampling.grids`.
        guidance: what is guided, each with a scale of its own.
        shape: ([t] h w c) of one sample's z.
        name: of the noise stream.
        tell: (params, key, index, cond) -> what the network is told, made once of what samples are
            to be, and what becomes of their z: given frames pass through.
    """

    network: Callable[[PyTree, Array, Array, Conditioning], Array]
    decode: Callable[[PyTree, Array], Array]
    drop: Callable[[Conditioning, tuple[str, ...]], Conditioning]
    schedule: Schedule
    target: str
    solver: Solver
    grid: Float[np.ndarray, " stops"]
    guidance: tuple[Guidance, ...]
    shape: tuple[int, ...]
    name: str
    tell: Tell = as_asked

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
        keys = [sample_keys(stream(key, f"{self.name} {what}"), index) for what in STREAMS]
        noise_keys, solver_keys, told_keys = keys
        told, finish = self.tell(params, told_keys, index, cond)
        # Not every condition knows its null value: it is asked for only where it is used.
        away = [
            Away(self.drop(told, one.keys), one.scale)
            for one in self.guidance
            if one.scale != 1 and not told.keys().isdisjoint(one.keys)
        ]
        predict = guided(functools.partial(self.network, params), told, *away)
        z = sample(
            make_denoiser(predict, self.schedule, self.target),
            self.solver,
            self.grid,
            sample_noise(noise_keys, (*index.shape, *self.shape)),
            solver_keys,
        )
        return finish(z)

    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return frames (t = 1 for images), and which samples are finite; as `latents`."""
        z = self.latents(params, key, index, cond)
        return to_frames(functools.partial(self.decode, params), z)


STREAMS = ("noise", "solver", "told")  # of a sampler, each drawn from independently


def spread(values: Mapping[str, Any], count: int, first: int = 0) -> Conditioning:
    """Return each of a few values in turn for `count` samples: (n ...) -> (count ...).

    Args:
        values: arrays (n ...) by the key of their condition; n may differ.
        count: number of samples.
        first: number of the first sample, which takes row `first % n`.
    """
    index = first + np.arange(count)
    return {key: np.asarray(rows)[index % len(rows)] for key, rows in values.items()}
