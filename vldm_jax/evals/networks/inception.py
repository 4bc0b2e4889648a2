"""The Inception-v3 of FID: TensorFlow's graph of 2015-12-05, up to its 2048 pooled features.

Every published FID is taken in this network's `pool_3`. It is Inception-v3 with three differences
from the one that torchvision ships: average pools do not count padding, the last block pools by
maximum where the others average, and the classifier, unused here, has 1008 outputs.

Its layers are the table of `inception_blocks`. Each convolution has a batch norm (eps 1e-3) and a
ReLU behind it; the norm's statistics are fixed, so the loader multiplies them into kernel and bias,
and the network has no norms.

Source: Szegedy et al., arXiv:1512.00567; Heusel et al., arXiv:1706.08500 (FID); the names of
the file are torchvision's, as pytorch-fid converted them.
"""

from collections.abc import Mapping
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.inception_blocks import BLOCKS, STEM, AvgPool, Conv, MaxPool, Split
from vldm_jax.evals.networks.state_dicts import Layout, our_axes, read_tensors, torch_axes
from vldm_jax.typing import Array, DTypeLike, Float, PyTree, Shaped, UInt8

SIZE = 299
SMALLEST = 75  # of which one pixel is left
EPS = 1e-3  # of the batch norms
LAYOUT = Layout(
    name="FID Inception-v3",
    file="pt_inception-2015-12-05-6726825d.pth of pytorch-fid, or a .safetensors of its tensors",
    ignored=r"fc\.(weight|bias)|AuxLogits\..*|.*\.num_batches_tracked",
)


class Layers(nn.Module):
    """A row of layers; the parameters are those of its convolutions, by their names.

    Attributes:
        layers: `Conv`, `MaxPool`, `AvgPool` and `Split`.
        thin: divides every width.
        dtype: compute type.
    """

    layers: tuple
    thin: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        """Return what the last layer makes of x."""
        return self._row(self.layers, x)

    def _row(self, layers: tuple, x: Array) -> Array:
        for layer in layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: Conv | MaxPool | AvgPool | Split, x: Array) -> Array:
        if isinstance(layer, Split):
            return jnp.concatenate([self._row(row, x) for row in layer.branches], axis=-1)
        if isinstance(layer, MaxPool):
            padding = "SAME" if layer.stride == 1 else "VALID"
            return nn.max_pool(x, (3, 3), (layer.stride, layer.stride), padding)
        if isinstance(layer, AvgPool):
            return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
        conv = nn.Conv(
            layer.features // self.thin,
            layer.kernel,
            strides=layer.stride,
            padding="SAME" if layer.same else "VALID",
            dtype=self.dtype,
            name=layer.name,
        )
        return nn.relu(conv(x))


class Inception(nn.Module):
    """FID's feature extractor.

    Attributes:
        thin: divides every width; 1 is the published network, 16 one for tests.
        dtype: compute type; the result is float32.
    """

    thin: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
        """Return the 2048 pooled features of each image.

        Args:
            x: (b 299 299 3) in [-1, 1]. FID is defined at this size; the network takes others.

        Raises:
            InputError: if the images are smaller than 75 pixels.
        """
        if min(x.shape[1:3]) < SMALLEST:
            raise InputError(
                f"images of {x.shape[1]}x{x.shape[2]} are too small for Inception-v3: "
                f"resize them to {SIZE}x{SIZE}"
            )
        stem = Layers(STEM, self.thin, self.dtype)
        nn.share_scope(self, stem)
        x = stem(x)
        for name, block in BLOCKS.items():
            x = Layers((block,), self.thin, self.dtype, name=name)(x)
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)


@jax.jit
def prepare_inception(frames: UInt8[Array, "b h w 3"]) -> Float[Array, "b 299 299 3"]:
    """Return what the network takes of R G B frames of any size.

    Resized as pytorch-fid does: bilinear between the nearest four pixels, also where frames shrink.
    """
    x = frames.astype(jnp.float32)
    x = jax.image.resize(x, (x.shape[0], SIZE, SIZE, 3), "linear", antialias=False)
    return x / 127.5 - 1


def load_inception_weights(path: str | Path, network: Inception | None = None) -> PyTree:
    """Return the parameters of `Inception()` as a nested dict of NumPy arrays.

    Args:
        path: pytorch-fid's file, or a .safetensors with tensors of the same names.
        network: whose weights they are; None for the published one.

    Raises:
        InputError: if it is another file, naming the first tensor that does not fit.
    """
    tensors = read_tensors(path)
    image = jax.ShapeDtypeStruct((1, SMALLEST, SMALLEST, 3), jnp.float32)
    shapes = jax.eval_shape((network or Inception()).init, jax.random.key(0), image)["params"]
    kernels = {
        name.removesuffix("/kernel"): leaf.shape
        for name, leaf in paths.flatten(shapes).items()
        if name.endswith("/kernel")
    }
    wanted = {}
    for name, shape in kernels.items():
        theirs = name.replace("/", ".")
        wanted[f"{theirs}.conv.weight"] = torch_axes(shape)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            wanted[f"{theirs}.bn.{leaf}"] = shape[-1:]
    LAYOUT.check(path, tensors, wanted)
    folded = {name: _folded(tensors, name.replace("/", ".")) for name in kernels}
    return paths.unflatten(
        {f"{name}/{leaf}": value for name, conv in folded.items() for leaf, value in conv.items()}
    )


def _folded(
    tensors: Mapping[str, Shaped[np.ndarray, "..."]], name: str
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Return kernel and bias of a convolution and the norm behind it."""
    weight, scale, bias, mean, variance = (
        tensors[f"{name}.{leaf}"].astype(np.float64)
        for leaf in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    )
    scale = scale / np.sqrt(variance + EPS)
    kernel = np.ascontiguousarray(our_axes(weight) * scale, np.float32)
    return {"kernel": kernel, "bias": np.float32(bias - mean * scale)}
