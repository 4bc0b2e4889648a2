"""C3D trained on UCF-101: 16 frames -> logits of 101 actions, for the video inception score.

    (conv ReLU)(conv ReLU)... max-pool     five times; then fc6 ReLU fc7 ReLU fc8

All convolutions are 3x3x3; the first pool keeps time, the others halve time, height and width. The
layout is the one of the common PyTorch C3D: conv1, conv2, conv3a, conv3b ... conv5b, fc6, fc7, fc8.

What the network sees is a convention of its training: frames resized to 128x171 and cropped at the
centre to 112x112, channels in the order B G R, values in [0, 255] less the mean (90, 98, 102).
`prepare_c3d` does this. Deviation: the score was first published with weights for Chainer, whose
mean is an image a frame; give scores with the weights that they are from.

Source: Tran et al., arXiv:1412.0767; Saito et al., arXiv:1811.09245 (the score).
"""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.state_dicts import Layout, our_tree, read_tensors, torch_shapes
from vldm_jax.typing import Array, DTypeLike, Float, PyTree, UInt8

FRAMES, SIZE = 16, 112
RESIZED = (128, 171)
MEAN = (90.0, 98.0, 102.0)  # of B G R
LAYOUT = Layout(
    name="C3D of UCF-101",
    file="a state dict of the PyTorch C3D (conv1 ... conv5b, fc6, fc7, fc8 with 101 classes), "
    ".pth or .safetensors",
    ignored=r"$^",
)
# Names and widths, in units of the first one's, between two pools.
STAGES = (
    (("conv1", 1),),
    (("conv2", 2),),
    (("conv3a", 4), ("conv3b", 4)),
    (("conv4a", 8), ("conv4b", 8)),
    (("conv5a", 8), ("conv5b", 8)),
)


class C3D(nn.Module):
    """Convolutions over time and space, then three dense layers.

    Attributes:
        width: channels of the first convolution.
        hidden: width of fc6 and fc7.
        classes: number of logits.
        dtype: compute type; the result is float32.
    """

    width: int = 64
    hidden: int = 4096
    classes: int = 101
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w 3"]) -> Float[Array, "b classes"]:
        """Return the logits of each clip.

        Args:
            x: (b 16 112 112 3) from `prepare_c3d`.

        Raises:
            InputError: if the clips have another size.
        """
        if x.shape[1:4] != (FRAMES, SIZE, SIZE):
            raise InputError(
                f"clips of {x.shape[1:4]} for C3D: give {FRAMES} frames of {SIZE}x{SIZE}, as "
                "prepare_c3d makes them"
            )
        for index, stage in enumerate(STAGES):
            for name, widths in stage:
                conv = nn.Conv(widths * self.width, (3, 3, 3), dtype=self.dtype, name=name)
                x = nn.relu(conv(x))
            window = (1, 2, 2) if index == 0 else (2, 2, 2)
            edge = ((0, 0), (1, 1), (1, 1)) if index == len(STAGES) - 1 else "VALID"
            x = nn.max_pool(x, window, window, edge)
        x = x.reshape(x.shape[0], -1)
        for name in ("fc6", "fc7"):
            x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name=name)(x))
        return nn.Dense(self.classes, dtype=self.dtype, name="fc8")(x).astype(jnp.float32)


@jax.jit
def prepare_c3d(videos: UInt8[Array, "b t h w 3"]) -> Float[Array, "b t 112 112 3"]:
    """Return what C3D was trained on of R G B videos of any size."""
    x = videos.astype(jnp.float32)
    x = jax.image.resize(x, (*x.shape[:2], *RESIZED, 3), "linear", antialias=False)
    top, left = ((size - SIZE + 1) // 2 for size in RESIZED)
    x = jnp.round(x[:, :, top : top + SIZE, left : left + SIZE, ::-1])
    return x - jnp.asarray(MEAN).reshape(1, 1, 1, 1, 3)


def load_c3d_weights(path: str | Path, network: C3D | None = None) -> PyTree:
    """Return the parameters of `C3D()` as a nested dict of NumPy arrays.

    Args:
        path: state dict, .pth or .safetensors.
        network: whose weights they are; None for the published one.

    Raises:
        InputError: if it is another file, naming the first tensor that does not fit.
    """
    tensors = read_tensors(path)
    clip = jax.ShapeDtypeStruct((1, FRAMES, SIZE, SIZE, 3), jnp.float32)
    shapes = jax.eval_shape((network or C3D()).init, jax.random.key(0), clip)["params"]
    LAYOUT.check(path, tensors, torch_shapes(shapes))
    params = our_tree(shapes, tensors)
    # PyTorch flattens channels first; of time, one step is left.
    kernel = rearrange(params["fc6"]["kernel"], "(c h w) d -> (h w c) d", h=4, w=4)
    params["fc6"]["kernel"] = np.ascontiguousarray(kernel)
    return params
