"""Stable Video Diffusion: its published size, and its network against the one of diffusers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_unet import from_torch, is_temporal, largest_difference, randomise

from vldm_jax.core import paths
from vldm_jax.models.table import abstract_params
from vldm_jax.models.unet import UNet
from vldm_jax.models.unet_sizes import SVD
from vldm_jax.nn.temporal import TemporalSpec

BATCH, FRAMES = 2, 3
RENAMES = (
    (r"resnets\.(\d+)\.spatial_res_block", r"resnets.\1"),
    (r"resnets\.(\d+)\.temporal_res_block", r"temporal_resnets.\1"),
    (r"attentions\.(\d+)\.temporal_transformer_blocks\.0", r"temporal_attentions.\1"),
    (r"attentions\.(\d+)\.time_pos_embed", r"temporal_attentions.\1.position"),
    (r"(resnets|attentions)\.(\d+)\.time_mixer\.mix_factor", r"temporal_\1.\2.mixer.logit"),
)
# Epsilons as in that class: down with attention, down without, middle, up, up.
TINY = UNet(
    channels=(32, 64),
    attention=(True, False),
    layers_per_level=1,
    heads=(2, 4),
    context_dim=12,
    norm_eps=(1e-6, 1e-5, 1e-5, 1e-6, 1e-6),
    added_time_ids=3,
    added_time_width=8,
    temporal=TemporalSpec(),
)


def svd_inputs(net):
    z, time, cond = net.example_inputs((1, FRAMES, 8, 8, 4), 1)
    return z, time, cond | {"concat": z}


def test_published_size():
    """1,524,623,082: torch's own count of UNetSpatioTemporalConditionModel()."""
    net = UNet(**SVD, temporal=TemporalSpec())
    flat = paths.flatten(abstract_params(net, *svd_inputs(net)))
    assert paths.count(flat.values()) == 1_524_623_082
    assert flat["conv_in/kernel"].shape == (3, 3, 8, 320)
    assert flat["add_embedding/linear_1/kernel"].shape == (3 * 256, 1280)
    assert paths.count(v for k, v in flat.items() if is_temporal(k)) == 656_076_838


@pytest.fixture(scope="module")
def reference():
    torch = pytest.importorskip("torch", reason="compares with torch")
    diffusers = pytest.importorskip("diffusers", reason="compares with diffusers")
    net = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=TINY.channels,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=TINY.layers_per_level,
        num_attention_heads=TINY.heads,
        cross_attention_dim=TINY.context_dim,
        addition_time_embed_dim=TINY.added_time_width,
        projection_class_embeddings_input_dim=3 * TINY.added_time_width,
    )
    return torch, randomise(net, seed=0)


@pytest.fixture(scope="module")
def params(reference):
    return from_torch(reference[1].state_dict(), RENAMES)


def test_every_weight_of_diffusers_has_its_place(params):
    expected = paths.flatten(abstract_params(TINY, *svd_inputs(TINY)))
    assert {k: v.shape for k, v in paths.flatten(params).items()} == {
        k: v.shape for k, v in expected.items()
    }


def both(reference, params, size, net=TINY):
    """Predict with our network and with theirs: standard normal z, one token of context."""
    torch, theirs = reference
    rng = np.random.default_rng(1)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    z, image = draw(BATCH, FRAMES, *size, 4), draw(BATCH, *size, 4)
    context, time = draw(BATCH, 2, TINY.context_dim), np.float32([3.5, 801.0])
    ids = np.float32([[6, 127, 0.02], [23, 10, 0.3]])
    given = {"context": context, "concat": image, "added_time_ids": ids}
    cond = {key: jnp.asarray(value) for key, value in given.items()}
    run = jax.jit(lambda p, *args: net.apply({"params": p}, *args, train=False))
    ours = run(params, jnp.asarray(z), jnp.asarray(time), cond)
    every = np.broadcast_to(image[:, None], z.shape)
    sample = np.moveaxis(np.concatenate([z, every], axis=-1), -1, 2)
    with torch.no_grad():
        args = map(torch.tensor, (sample, time, context, ids))
        out = theirs(*args, return_dict=False)[0].numpy()
    return ours, np.moveaxis(out, 2, -1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_it_predicts_what_diffusers_predicts(reference, params, size):
    assert largest_difference(*both(reference, params, size)) < 1e-4


@pytest.mark.slow
def test_that_comparison_sees_an_epsilon_of_the_wrong_stage(reference, params):
    wrong = TINY.copy(norm_eps=(1e-5, 1e-5, 1e-5, 1e-6, 1e-6))
    assert largest_difference(*both(reference, params, (5, 7), wrong)) > 1e-3
