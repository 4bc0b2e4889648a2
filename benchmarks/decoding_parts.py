"""How far a video that is decoded in parts is from the whole, and what the exact way costs.

    python benchmarks/decoding_parts.py runs/decoder
    XLA_FLAGS=--xla_force_host_platform_device_count=4 python benchmarks/decoding_parts.py \
        runs/decoder

Of a shipped clip at the size that the decoder was trained at, encoded by its own encoder: windows
of frames that overlap, tiles that are blended, frames split over this machine's devices;
differences in gray levels of 255. Times are of the second call, of the wall and of this process's
cores.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.assets import resolve
from vldm_jax.data.source import folder_source
from vldm_jax.interop.weights import find_weights
from vldm_jax.sampling.decoding import InParts
from vldm_jax.sampling.maker import to_pixels
from vldm_jax.stages.latents import Latents, module_of

FRAMES = 40
WINDOWS = ((8, 0), (8, 2), (16, 4))
TILES = (((8, 8), 4),)


def ways(module) -> Iterator[tuple[str, Latents]]:
    """Yield names and ways of decoding, the whole first."""
    yield "whole", Latents(module)
    for frames, overlap in WINDOWS:
        yield (
            f"windows {frames}, overlap {overlap}",
            Latents(module, InParts(frames=frames, overlap=overlap)),
        )
    for tile, blend in TILES:
        name = f"tiles {tile[0]}x{tile[1]} latents, blend {blend}"
        yield name, Latents(module, InParts(tile=tile, blend=blend))
    yield f"split over {jax.local_device_count()} devices", Latents(module, split=True)


def timed(function: Callable, *args) -> tuple[np.ndarray, float, float]:
    """Return a result on the host, and the seconds of a second call: wall, cores."""
    jax.block_until_ready(function(*args))
    wall, cores = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(function(*args))
    return np.asarray(result), time.perf_counter() - wall, time.process_time() - cores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", help="autoencoder with a temporal decoder: file or workdir")
    parser.add_argument("--clip", type=int, default=0)
    args = parser.parse_args()
    file = find_weights(args.weights, ("autoencoder",), "--weights")
    module, meta = module_of(file), file.meta["decoder"]
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), file.read())
    height, width = meta["size"]
    source = folder_source(
        resolve("asset:driving/clips"), height=height, width=width, fps=meta["fps"],
        num_frames=FRAMES, stride=FRAMES,
    )  # fmt: skip
    x = to_pixels(jnp.asarray(source[args.clip]["video"]))
    encode = jax.jit(functools.partial(module.apply, method="encode"))
    z = module.latent_scale * encode({"params": params}, x)[0][None]
    print(f"{args.weights}: {FRAMES} frames of {height}x{width}, latents {z.shape}")
    print("| decoded in | largest | 99.9 % | mean | wall s | core s |\n|---|---|---|---|---|---|")
    whole = None
    for name, latents in ways(module):
        frames, wall, cores = timed(jax.jit(latents.decode), params, z)
        whole = frames if whole is None else whole
        apart = 127.5 * np.abs(frames - whole)
        largest, most, mean = apart.max(), np.quantile(apart, 0.999), apart.mean()
        numbers = f"{largest:.3g} | {most:.3g} | {mean:.3g} | {wall:.1f} | {cores:.1f}"
        print(f"| {name} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
