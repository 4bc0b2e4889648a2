"""Videos that a codec hardly changes."""

import numpy as np

SIZE = (32, 48)


def scene(frames, seed, size=SIZE):
    """Smooth colours that move, each frame unlike the others."""
    y, x = np.mgrid[: size[0], : size[1]] / size[0]
    phase = np.arange(frames)[:, None, None] / 5 + seed
    waves = [np.sin(3 * x + phase), np.cos(4 * y - phase), np.sin(2 * (x + y) + 2 * phase)]
    return np.uint8(127 + 100 * np.stack(waves, axis=-1))
