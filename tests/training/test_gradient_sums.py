"""What is summed over devices in training under bfloat16: float32, as `precision` promises.

Read from the program that the partitioner writes: what follows depends on the backend, and a CPU
adds bfloat16 in float32 anyway.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vldm_jax.models.autoencoder import Autoencoder
from vldm_jax.models.discriminator import PatchDiscriminator
from vldm_jax.models.text import TextEncoder
from vldm_jax.models.unet import UNet
from vldm_jax.nn.mixer import Mixer
from vldm_jax.nn.temporal import TemporalResBlock, TemporalSpec, TemporalTransformer

DEVICES, BF16 = 4, jnp.bfloat16
UNET = UNet(
    channels=(4,),
    attention=(True,),
    layers_per_level=1,
    heads=2,
    context_dim=4,
    norm_groups=2,
    label_tokens=("binary", "count"),
    num_classes=3,
    added_time_ids=2,
    temporal=TemporalSpec(),
    remat=True,
    dtype=BF16,
)
DECODER = Autoencoder(
    base=4, mult=(1, 1), blocks=1, norm_groups=2, temporal_decoder=True, dtype=BF16
)
TEXT = TextEncoder(width=4, layers=1, heads=2, mlp_width=8, vocab_size=9, max_tokens=3, dtype=BF16)
TRANSFORMER = TemporalTransformer(Mixer, 2, positions="relative", dtype=BF16)
RESIDUAL = TemporalResBlock(Mixer, groups=2, dtype=BF16)
DISCRIMINATOR = PatchDiscriminator(base=2, layers=1, norm_groups=2, dtype=BF16)


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


X = shape(2, 2, 2, 4)  # the frames of one video
CASES = {  # what is called with what, a batch of one
    "convolutions": (DISCRIMINATOR, (shape(1, 8, 8, 3),), {}),
    "temporal convolutions": (RESIDUAL, (X, shape(2, 3)), {"frames": 2, "train": False}),
    "dense layers and positions": (TRANSFORMER, (shape(2, 1, 4), shape(1, 1, 4)), {"frames": 2}),
    "U-Net": (UNET, UNET.smallest_inputs(4), {}),
    "autoencoder": (DECODER, DECODER.example_inputs((1, 1, 2, 2, 4)), {}),
    "text encoder": (TEXT, TEXT.smallest_inputs(3), {}),
}
WHOLE = ("U-Net", "autoencoder", "text encoder")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in WHOLE else ()) for n in CASES]
)
def test_gradients_are_summed_over_devices_in_float32(name, tmp_path):
    net, inputs, static = CASES[name]
    mesh = Mesh(np.array(jax.devices()[:DEVICES]), ("data",))
    split, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("data"), PartitionSpec()))

    def init(key):
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), inputs)
        return net.init(key, *zeros, **static)["params"]

    def loss(params, *inputs):
        out = net.apply({"params": params}, *inputs, **static)
        return jnp.square(out.astype(jnp.float32)).mean()

    def struct(leaf, times, sharding):
        sizes = (times * leaf.shape[0], *leaf.shape[1:]) if leaf.shape else ()
        return jax.ShapeDtypeStruct(sizes, leaf.dtype, sharding=sharding)

    params = jax.eval_shape(init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: struct(leaf, 1, whole), params)
    batch = jax.tree.map(lambda leaf: struct(leaf, DEVICES, split), inputs)
    lowered = jax.jit(jax.grad(loss), out_shardings=whole).lower(params, *batch)
    lowered.compile({"xla_dump_to": str(tmp_path), "xla_dump_hlo_pass_re": "spmd-partitioning"})
    (file,) = tmp_path.glob("*after_spmd-partitioning*")
    summed = re.findall(r"= \(?(\w+)\[[^=]* all-reduce\(", file.read_text())
    assert len(summed) >= len(jax.tree.leaves(params)) // 2
    assert set(summed) == {"f32"}
