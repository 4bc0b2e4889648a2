"""The video U-Net with AnimateDiff's motion modules: against the image U-Net and diffusers."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_unet import (
    BATCH,
    COND,
    FIELDS,
    FRAMES,
    TIME,
    Z,
    fold,
    from_torch,
    images_of_videos,
    is_temporal,
    largest_difference,
    randomise,
    spatial,
)

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.models.table import abstract_params, fields_of, module_of, temporal_of
from vldm_jax.models.unet import UNet
from vldm_jax.models.unet_sizes import SD14
from vldm_jax.nn.motion import MotionSpec
from vldm_jax.nn.temporal import TemporalSpec

V1 = MotionSpec(heads=2, max_frames=24, middle=False)
V2 = MotionSpec(heads=2)
NETS = {"v1": UNet(**FIELDS, temporal=V1), "v2": UNet(**FIELDS, temporal=V2)}


def flat_shapes(net, latent=Z.shape):
    tree = abstract_params(net, *net.example_inputs((1, *latent[1:]), 3))
    return {path: leaf.shape for path, leaf in paths.flatten(tree).items()}


@functools.cache
def random_params(net):
    """Random everywhere but at the ends of motion modules, which are what they start as."""
    rng = np.random.default_rng(0)
    flat = {
        path: jnp.zeros(shape)
        if is_temporal(path) and "/proj_out/" in path
        else jnp.asarray(0.3 * rng.normal(size=shape), jnp.float32)
        for path, shape in flat_shapes(net).items()
    }
    return paths.unflatten(flat)


@functools.partial(jax.jit, static_argnums=0)
def predict(net, params, z, time, cond):
    return net.apply({"params": params}, z, time, cond, train=False)


def trained(params):
    flat = paths.flatten(params)
    return paths.unflatten({k: v if v.any() else v + 0.1 for k, v in flat.items()})


@pytest.mark.slow
def test_at_insertion_the_video_model_is_the_image_model():
    params = random_params(NETS["v2"])
    out = predict(NETS["v2"], params, Z, TIME, COND)
    alone = images_of_videos(spatial(params), fold(Z), TIME, COND).reshape(Z.shape)
    np.testing.assert_allclose(out, alone, rtol=0, atol=1e-5)
    moved = predict(NETS["v2"], trained(params), Z, TIME, COND)
    assert float(jnp.abs(moved - alone).max()) > 1e-2


def test_image_only_samples_are_what_the_image_model_makes_of_them():
    params = trained(random_params(NETS["v2"]))
    cond = COND | {"image_only": jnp.array([True, False])}
    out = predict(NETS["v2"], params, Z, TIME, cond)
    expected = images_of_videos(spatial(params), fold(Z), TIME, COND).reshape(Z.shape)
    np.testing.assert_allclose(out[0], expected[0], rtol=0, atol=1e-5)
    assert float(jnp.abs(out[1] - expected[1]).max()) > 1e-2


@pytest.mark.parametrize(("version", "middle"), [("v1", False), ("v2", True)])
def test_a_module_follows_every_layer_and_the_middle_one_if_asked(version, middle):
    modules = {p.split("/proj_in")[0] for p in flat_shapes(NETS[version]) if is_temporal(p)}
    modules = {m for m in modules if m.count("/") == 1}
    expected = {f"down_blocks_{i}/temporal_motion_modules_0" for i in (0, 1)}
    expected |= {f"up_blocks_{i}/temporal_motion_modules_{j}" for i in (0, 1) for j in (0, 1)}
    assert modules == expected | ({"mid_block/temporal_motion_modules_0"} if middle else set())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (MotionSpec(max_frames=24, middle=False), 417_137_600),
        (MotionSpec(), 453_209_280),
    ],
)
def test_published_sizes(spec, count):
    """torch's own counts of MotionAdapter with and without a module in the middle."""
    net = flat_shapes(UNet(**SD14, temporal=spec), (1, 8, 8, 8, 4))
    in_time = sum(int(np.prod(shape)) for path, shape in net.items() if is_temporal(path))
    in_space = sum(int(np.prod(shape)) for path, shape in net.items() if not is_temporal(path))
    assert (in_time, in_space) == (count, 859_520_964)


def test_a_video_beyond_the_positions_is_refused():
    net = UNet(**FIELDS, temporal=MotionSpec(heads=2, max_frames=FRAMES - 1))
    with pytest.raises(InputError, match="got 3 frames, but positions end at max_frames 2"):
        flat_shapes(net)


@pytest.mark.parametrize("spec", [V1, V2, TemporalSpec(mix="per_frame", num_frames=FRAMES)])
def test_a_weights_file_knows_the_family(spec):
    net = UNet(**FIELDS, temporal=spec)
    fields = json.loads(json.dumps(fields_of(net)))
    assert module_of("temporal", fields, net.dtype) == net


def test_without_a_family_fields_are_video_ldm_s():
    assert temporal_of({"mix": "scalar", "mix_logit": 1.0}) == TemporalSpec(mix_logit=1.0)
    with pytest.raises(InputError, match="'video_ldm' has no field 'max_frames'"):
        temporal_of({"max_frames": 24})
    with pytest.raises(InputError, match="'animatediff' has no field 'mix'"):
        temporal_of({"family": "animatediff", "mix": "scalar"})
    with pytest.raises(InputError, match="unknown temporal family 'modelscope'"):
        temporal_of({"family": "modelscope"})


def pair(spec):
    """Return U-Net, motion adapter and what diffusers makes of both, random."""
    diffusers = pytest.importorskip("diffusers", reason="compares with diffusers")
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(16, 24),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,  # a misnomer, it is the number of heads
        cross_attention_dim=6,
        norm_num_groups=4,
    )
    adapter = diffusers.MotionAdapter(
        block_out_channels=(16, 24),
        motion_layers_per_block=1,
        motion_num_attention_heads=spec.heads,
        motion_norm_num_groups=4,
        motion_max_seq_length=spec.max_frames,
        use_motion_mid_block=spec.middle,
    )
    unet, adapter = randomise(unet, seed=0), randomise(adapter, seed=1)
    return unet, adapter, diffusers.UNetMotionModel.from_unet2d(unet, adapter).eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "size"),
    [
        # Formats are compared at even sizes in tests/interop; at an odd one the way up crops.
        pytest.param(V1, (4, 6), marks=pytest.mark.slow),
        pytest.param(V2, (4, 6), marks=pytest.mark.slow),
        (V2, (5, 7)),
    ],
)
def test_it_predicts_what_diffusers_predicts(spec, size):
    torch = pytest.importorskip("torch", reason="compares with torch")
    net = UNet(
        channels=(16, 24),
        attention=(True, False),
        layers_per_level=1,
        heads=4,
        context_dim=6,
        linear_projection=False,
        norm_groups=4,
        temporal=spec,
    )
    unet, adapter, theirs = pair(spec)
    motion = from_torch(adapter.state_dict(), ((r"\.motion_", ".temporal_motion_"),))
    params = paths.merge(from_torch(unet.state_dict()), motion)
    assert {k: v.shape for k, v in paths.flatten(params).items()} == flat_shapes(net)

    rng = np.random.default_rng(2)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    z, context = draw(BATCH, FRAMES, *size, 4), draw(BATCH, 5, 6)
    ours = predict(net, params, jnp.asarray(z), TIME, {"context": jnp.asarray(context)})
    with torch.no_grad():
        out = theirs(
            torch.tensor(np.moveaxis(z, -1, 1)),
            torch.tensor(np.array(TIME)),
            torch.tensor(context).repeat_interleave(FRAMES, dim=0),
            return_dict=False,
        )[0]
    assert largest_difference(ours, np.moveaxis(out.numpy(), 1, -1)) < 1e-4
