"""Latents to frames and into one mp4, a segment at a time: memory does not grow with the length.

A segment is a file of its own until the last is there: then all are joined without being encoded
again, so a stopped run goes on at the segment where it was and leaves the same bytes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.data.join import join_videos
from vldm_jax.data.write import write_video
from vldm_jax.sampling.maker import to_uint8
from vldm_jax.stack.reel import Reel
from vldm_jax.typing import Array, PyTree, UInt8

CHUNK = 8  # frames decoded in one call
SEGMENT = 240  # frames of one file


class Decoder:
    """Frames of a reel, decoded in chunks of one size.

    Args:
        decode: (params, z (1 t h w c)) -> frames (1 t H W 3), about [-1, 1], each of its z alone.
        params: its parameters.
    """

    def __init__(self, decode: Callable[[PyTree, Array], Array], params: PyTree) -> None:
        def pixels(params: PyTree, z: Array) -> tuple[Array, Array]:
            x = decode(params, z[None])[0]
            return to_uint8(x), jnp.isfinite(x).all() & jnp.isfinite(z).all()

        self._run, self._params = jax.jit(pixels), params

    def frames(
        self, reel: Reel, future: int, start: int, stop: int
    ) -> UInt8[np.ndarray, "t H W 3"]:
        """Return the frames [start, stop) of a future.

        Raises:
            InputError: if one is not finite.
        """
        parts = []
        for first in range(start, stop, CHUNK):
            end = min(first + CHUNK, stop)
            z = reel.between(first, end)[future]
            z = jnp.concatenate([z, jnp.repeat(z[-1:], CHUNK - len(z), axis=0)])
            frames, finite = self._run(self._params, z)
            if not finite:
                raise InputError(
                    f"frames {first} to {end - 1} are not finite numbers: the weights of a part "
                    "are damaged, or were trained for another precision"
                )
            parts.append(np.asarray(frames)[: end - first])
        return np.concatenate(parts)


def write_film(
    decoder: Decoder,
    reel: Reel,
    future: int,
    count: int,
    fps: float,
    path: Path,
    said: Callable[[int], Any],
) -> None:
    """Write the first `count` frames of a future as an mp4.

    Args:
        decoder: of the latents.
        reel: of the latents, at `fps`.
        future: its number.
        count: frames, at most those of the reel.
        fps: of the video.
        path: of the mp4; segments lie beside it until it is there.
        said: is told how many frames are written.
    """
    if path.exists():
        return
    segments = []
    for start in range(0, count, SEGMENT):
        stop = min(start + SEGMENT, count)
        segments.append(path.with_name(f"{path.stem}.{start:08}.mp4"))
        if not segments[-1].exists():
            write_video(segments[-1], decoder.frames(reel, future, start, stop), fps)
        said(stop)
    join_videos(segments, path)
    for segment in segments:
        segment.unlink()
