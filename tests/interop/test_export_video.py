"""Networks of this project as UNetSpatioTemporalConditionModel, which they were not read from."""

import dataclasses
import re

import jax
import numpy as np
import pytest
import reference
from reference import INPUTS, assert_equal, difference

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.interop import export, insert_temporal, load, save, temporal_layers
from vldm_jax.interop.layouts import video_unet
from vldm_jax.models import table
from vldm_jax.models.network import Denoiser
from vldm_jax.nn.temporal import TemporalSpec

pytestmark = pytest.mark.slow  # whole public networks; CI runs them

torch, diffusers = reference.torch, reference.diffusers


@pytest.fixture(scope="module", params=["sd1", pytest.param("sd2", marks=pytest.mark.slow)])
def fresh(request, saved):
    """A video U-Net with new temporal layers; SD 1.x projects by convolutions, 2.x not."""
    return insert_temporal(load(saved(request.param)), TemporalSpec(), jax.random.key(0))


# For what is not about projections.
one_is_enough = pytest.mark.parametrize("fresh", ["sd1"], indirect=True)


@pytest.fixture(scope="module")
def trained(fresh):
    """The same with temporal layers that are no identity: each parameter drawn."""
    flat, draw = paths.flatten(fresh.params), np.random.default_rng(0)
    for path, leaf in sorted(flat.items()):
        if "temporal" in path:
            noise = draw.standard_normal(leaf.shape, np.float32)
            fan_in = max(1, leaf.size // leaf.shape[-1]) if leaf.ndim else 1
            # kernels by their fan-in; norms' scales around the one that they start at
            spread = fan_in**-0.5 if leaf.ndim > 1 else 0.2
            flat[path] = np.asarray(leaf) + np.float32(spread) * noise
    return dataclasses.replace(fresh, params=paths.unflatten(flat))


def changed(net, **fields):
    """The network with other fields."""
    temporal = fields.pop("temporal", {})
    config = {**net.fields, **fields, "temporal": {**net.fields["temporal"], **temporal}}
    module = table.module_of("video_unet", config, net.module.dtype)
    return dataclasses.replace(net, module=module, fields=config)


def with_the_classes_norms(net):
    """The network with the epsilons that residual blocks have in diffusers' class."""
    return changed(net, norm_eps=video_unet.stage_eps(net.fields["attention"]))


def exported(net, folder):
    """(What diffusers computes from the export, what the export says of it)."""
    notes = export(net, folder)
    model, info = diffusers.UNetSpatioTemporalConditionModel.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values()), info
    with torch.no_grad():
        theirs = model.eval()(
            reference.first(INPUTS.video),
            torch.from_numpy(INPUTS.time),
            torch.from_numpy(INPUTS.context),
            added_time_ids=torch.from_numpy(INPUTS.time_ids),
        ).sample
    return reference.last(theirs), notes


def call(net):
    return net(INPUTS.video, INPUTS.time, INPUTS.context)


def test_epsilons_are_those_of_the_class():
    """In outputs they show in late digits only."""
    model = reference.svd()
    parts = (*model.down_blocks, model.mid_block, *model.up_blocks)
    for part, eps in zip(parts, video_unet.stage_eps((True, False)), strict=True):
        for resnet in part.resnets:
            for block in (resnet.spatial_res_block, resnet.temporal_res_block):
                assert (block.norm1.eps, block.norm2.eps) == (eps, eps)


@pytest.mark.slow
def test_equal_outputs_where_the_norms_are_the_classes(trained, tmp_path):
    """Added time ids, which the network has not, are written as zeros and change nothing."""
    net = with_the_classes_norms(trained)
    theirs, notes = exported(net, tmp_path / "out")
    assert notes == []
    assert_equal(call(net), theirs)


@pytest.mark.slow
@one_is_enough
def test_other_epsilons_are_told_and_show_in_late_digits(trained, tmp_path):
    theirs, notes = exported(trained, tmp_path / "out")
    assert len(notes) == 1 and "norm_eps" in notes[0]
    assert difference(call(trained), theirs) < 1e-3


def test_fresh_layers_leave_the_image_model(fresh, saved, tmp_path):
    """What diffusers computes is then its image U-Net, frame by frame."""
    theirs, _ = exported(with_the_classes_norms(fresh), tmp_path / "out")
    name = "sd2" if fresh.fields["linear_projection"] else "sd1"
    image = getattr(reference, name)()
    for part in image.modules():  # the norms of its residual blocks as the video class has them
        if isinstance(part, diffusers.models.resnet.ResnetBlock2D):
            part.norm1.eps = part.norm2.eps = 1e-6
    plain = [part for part in image.down_blocks if not hasattr(part, "attentions")]
    for resnet in (r for part in (*plain, image.mid_block) for r in part.resnets):
        resnet.norm1.eps = resnet.norm2.eps = 1e-5
    z = INPUTS.video.reshape(-1, *INPUTS.video.shape[2:])
    with torch.no_grad():
        frames = image(
            reference.first(z),
            torch.from_numpy(INPUTS.time).repeat_interleave(3),
            torch.from_numpy(INPUTS.context).repeat_interleave(3, 0),
        ).sample
    assert_equal(theirs.reshape(z.shape), reference.last(frames))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"temporal": {"positions": "relative"}}, "positions = 'relative'"),
        ({"temporal": {"mix": "per_frame", "num_frames": 3}}, "mix = 'per_frame'"),
        ({"temporal": {"max_frame_distance": 8}}, "max_frame_distance = 8"),
        ({"temporal": {"norms": "per_frame"}}, "norms = 'per_frame'"),
        ({"num_classes": 10}, "num_classes = 10"),
        ({"only_cross_attention": (True, False)}, "only_cross_attention = True"),
        ({"label_tokens": ("binary",)}, "label_tokens = ('binary',)"),
        ({"norm_groups": 16}, "norm_groups = 16"),
    ],
)
@one_is_enough
def test_what_the_class_cannot_express_is_refused_by_name(fresh, tmp_path, fields, named):
    with pytest.raises(InputError, match=re.escape(f"cannot express {named}")):
        export(changed(fresh, **fields), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@one_is_enough
def test_temporal_layers_leave_alone_and_come_back(trained, tmp_path):
    """Saved with their backbone's name and hash, and the same network when put onto it again."""
    spatial = table.spatial_part(trained.params)
    unet = load_image(trained, spatial)
    save(unet, tmp_path / "unet.safetensors")
    layers = temporal_layers(trained, tmp_path / "unet.safetensors")
    save(layers, tmp_path / "temporal.safetensors")
    back = load(tmp_path / "temporal.safetensors")
    assert back.meta["backbone"]["sha256"] == sha256(tmp_path / "unet.safetensors")
    together = back.onto(load(tmp_path / "unet.safetensors"))
    reference.assert_same_network(together, trained)


@one_is_enough
def test_layers_of_another_diffusion_or_epsilon_are_refused(trained, tmp_path):
    unet = load_image(trained, table.spatial_part(trained.params))
    save(unet, tmp_path / "unet.safetensors")
    layers = temporal_layers(trained, tmp_path / "unet.safetensors")
    layers.meta["diffusion"] = {"target": "epsilon", "schedule": {"kind": "linear"}}
    unet.meta["diffusion"] = {"target": "v", "schedule": {"kind": "linear"}}
    with pytest.raises(InputError, match="diffusion target = epsilon, .* with v"):
        layers.onto(unet)
    unet.meta["diffusion"]["target"] = "epsilon"
    assert layers.onto(unet).kind == "video_unet"
    other = dataclasses.replace(unet, fields={**unet.fields, "norm_eps": 1e-3})
    with pytest.raises(InputError, match="norm_eps"):
        layers.onto(other)


def load_image(video, spatial):
    """The image U-Net that a video U-Net stands on."""
    config = {name: value for name, value in video.fields.items() if name != "temporal"}
    module = table.module_of("unet", config, "float32")
    return Denoiser(kind="unet", module=module, params=spatial, fields=config)
