"""Videos of the stack beside each other as a GIF, as the README shows them.

vldm sample --config configs/driving/stack.py:tiny --seconds 6 --labels night=0,cars=4 --out day
vldm sample --config configs/driving/stack.py:tiny --seconds 6 --labels night=1,cars=6 --out night
python benchmarks/stack_gif.py day night --out docs/images/drive.gif
"""

import argparse
from pathlib import Path

import av
import numpy as np

from vldm_jax.data.side_by_side import side_by_side
from vldm_jax.data.write import write_gif


def main() -> None:
    """Read the first video of each folder, write every third frame of their first seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of vldm sample")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=4.5)
    args = parser.parse_args()
    sets = {str(folder): read(folder / "0000.mp4", args.seconds)[None] for folder in args.folders}
    write_gif(args.out, side_by_side(sets), fps=10.0)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB")


def read(path: Path, seconds: float) -> np.ndarray:
    """Return every third frame (t h w 3), which are 30 a second."""
    with av.open(str(path)) as container:
        count = round(30 * seconds)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames[:count:3])


if __name__ == "__main__":
    main()
