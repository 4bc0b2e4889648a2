"""What makes frames of what it is told: by denoising, or by a network in one pass.

A maker is traceable; called, it is one compiled program whose results stay on the device;
`in_batches` splits each batch over the devices of this process.
"""

import abc
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.parallel.mesh import make_mesh, replicate
from vldm_jax.parallel.split import filled, placed, split_over
from vldm_jax.typing import Array, Bool, Conditioning, Float, Int, Key, PyTree, Shaped, UInt8


class FrameMaker(abc.ABC):
    """Makes frames; a subclass says how.

    Attributes:
        shares_frames: whether `frames` itself runs on all devices of this process, which share the
            frames of each sample: then they cannot share the samples.
    """

    shares_frames: bool = False

    @abc.abstractmethod
    def frames(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> tuple[UInt8[Array, "b t H W 3"], Bool[Array, " b"]]:
        """Return frames (t = 1 for images), and which samples are finite; traceable.

        Args:
            params: of the networks.
            key: of the run, `jax.random.key(seed)`.
            index: numbers of the samples; all that is drawn belongs to them.
            cond: what the samples are to be, every array leading with b.
        """

    def __call__(
        self, params: PyTree, key: Key, index: Int[Array, " b"], cond: Conditioning
    ) -> UInt8[Array, "b t H W 3"]:
        """Return frames on the device, compiled once a batch size; as `frames`.

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
            params: as in `frames`.
            key: as in `frames`.
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
        mesh = make_mesh(used)
        run, put, share = self._split(used), placed, len(used)
        if self.shares_frames:
            mesh, share = make_mesh(jax.local_devices()), 1
            run, put = self._compiled, lambda batch, devices: replicate(batch, mesh)
        params, key = replicate((params, key), mesh)
        for start in range(0, count, size):
            left = min(size, count - start)
            rows = np.arange(start, start + filled(size, share)) % count
            batch = {name: array[rows] for name, array in cond.items()}
            frames, finite = run(params, key, *put((index[rows], batch), used))
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


def to_frames(
    decode: Callable[..., Float[Array, "b *t H W 3"]],
    z: Float[Array, "b *t h w c"],
    *beside: Shaped[Array, "b ..."],
) -> tuple[UInt8[Array, "b t2 H W 3"], Bool[Array, " b"]]:
    """Return the frames that z is decoded to, a sample at a time: pixels are large.

    Args:
        decode: z (1 [t] h w c), and a row of each of `beside` -> frames (1 [t] H W 3), about
            [-1, 1].
        z: of images or videos.
        beside: what decoding them takes, too.

    Returns:
        Frames, t2 = 1 for images; and which samples are finite, before and after decoding.
    """
    finite = jnp.all(jnp.isfinite(z), axis=tuple(range(1, z.ndim)))

    def one(rows: tuple[Array, ...]) -> tuple[Array, Array]:
        x = decode(*(row[None] for row in rows))[0]
        x = x if x.ndim == 4 else x[None]
        return to_uint8(x), jnp.all(jnp.isfinite(x))

    pixels, decoded = jax.lax.map(one, (z, *beside))
    return pixels, finite & decoded


def to_pixels(frames: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return 8-bit frames as float32 pixels in [-1, 1]."""
    return frames.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(x: Float[Array, "*b h w c"]) -> UInt8[Array, "*b h w c"]:
    """Return pixels in [-1, 1] as bytes, clipped."""
    return jnp.round((jnp.clip(x, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)
