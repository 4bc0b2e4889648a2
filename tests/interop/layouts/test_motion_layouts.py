"""AnimateDiff's motion modules, of diffusers and of the authors, on a U-Net are one function."""

import original
import pytest
import reference
from diffusers.loaders import single_file_utils
from reference import INPUTS, assert_equal, assert_same_network

from vldm_jax.core.errors import InputError
from vldm_jax.interop import load

pytestmark = pytest.mark.slow  # whole public networks; CI runs them

torch, diffusers = reference.torch, reference.diffusers

VERSIONS = {
    "v1": {"middle": False, "max_frames": 24},
    "v2": {"middle": True, "max_frames": 32},
    "v3": {"middle": False, "max_frames": 32},
}


def make_adapter(name):
    return reference.motion_adapter(**VERSIONS[name])


@pytest.fixture(
    scope="module",
    params=["v2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("v1", "v3"))],
)
def version(request, saved):
    """(fields of the version, the adapter of diffusers, what is read from its folder)."""
    fields, adapter = VERSIONS[request.param], make_adapter(request.param)
    return fields, adapter, load(saved("motion_adapter", **fields))


def call(net):
    return net(INPUTS.video, INPUTS.time, INPUTS.context)


def test_adapter_of_diffusers(version, saved):
    fields, adapter, temporal = version
    assert temporal.kind == "temporal"
    spec = temporal.fields["temporal"]
    assert {name: spec[name] for name in fields} == fields
    net = temporal.onto(load(saved("sd1")))
    assert net.kind == "video_unet"
    assert_equal(call(net), reference.run_motion(reference.sd1(), adapter))


def test_names_are_the_authors(version):
    fields, adapter, _ = version
    state = original.animatediff(adapter.state_dict(), fields["max_frames"])
    converted = single_file_utils.convert_animatediff_checkpoint_to_diffusers(state)
    wanted = {k: t for k, t in adapter.state_dict().items() if not k.endswith(".pe")}
    assert converted.keys() == wanted.keys()
    assert all(torch.equal(converted[key], tensor) for key, tensor in wanted.items())


@pytest.mark.parametrize(("prefix", "suffix"), [("", ".safetensors"), ("module.", ".ckpt")])
def test_file_of_the_authors(version, tmp_path, prefix, suffix):
    fields, adapter, temporal = version
    names = original.animatediff(adapter.state_dict(), fields["max_frames"])
    state, file = original.prefixed(prefix, names), tmp_path / f"mm{suffix}"
    if suffix == ".ckpt":
        torch.save({"epoch": 1, "state_dict": state}, file)
    else:
        original.write(file, state)
    assert_same_network(load(file), temporal)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_positions_rounded_to_half_precision_are_known(tmp_path, dtype):
    adapter = make_adapter("v2")
    names = original.animatediff(adapter.state_dict(), 32)
    state = {key: tensor.to(getattr(torch, dtype)) for key, tensor in names.items()}
    temporal = load(original.write(tmp_path / "mm.safetensors", state))
    assert temporal.fields["temporal"]["max_frames"] == 32


def test_positions_that_were_trained_are_refused_by_name(tmp_path):
    adapter = make_adapter("v3")
    state = original.animatediff(adapter.state_dict(), 32)
    key = next(key for key in state if "up_blocks.1" in key and key.endswith("1.pos_encoder.pe"))
    state[key] = state[key] * 1.02
    file = original.write(tmp_path / "mm.safetensors", state)
    with pytest.raises(InputError, match=rf"mm.safetensors: '{key}' is no sinusoid"):
        load(file)


def test_positions_of_several_lengths_are_refused(tmp_path):
    adapter = make_adapter("v1")
    state = original.animatediff(adapter.state_dict(), 24)
    key = next(key for key in state if key.endswith(".pe"))
    state[key] = original.sinusoids(32, state[key].shape[2])
    file = original.write(tmp_path / "mm.safetensors", state)
    with pytest.raises(InputError, match=r"different numbers of positions, \[24, 32\]"):
        load(file)


def test_whole_motion_unet_folder(version, saved, tmp_path):
    _, adapter, temporal = version
    diffusers.UNetMotionModel.from_unet2d(reference.sd1(), adapter).save_pretrained(tmp_path)
    assert_same_network(load(tmp_path), temporal.onto(load(saved("sd1"))))


class EachFrameAlone(torch.nn.Module):
    """A norm over (h, w) of each frame, as in the authors' code, on arrays b c t h w."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        frames = self.norm(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (len(x), x.shape[2])).transpose(1, 2)


@pytest.mark.slow
def test_the_authors_norm_on_request(saved):
    """Same weights, other statistics: diffusers' modules with the authors' norm put in."""
    spatial = reference.ONE_LEVEL
    temporal = VERSIONS["v1"] | {"block_out_channels": spatial["block_out_channels"]}
    unet, adapter = reference.sd1(**spatial), reference.motion_adapter(**temporal)
    joint = reference.run_motion(unet, adapter)
    model = diffusers.UNetMotionModel.from_unet2d(unet, adapter).eval()
    for part in list(model.modules()):
        if type(part).__name__ == "AnimateDiffTransformer3D":
            part.norm = EachFrameAlone(part.norm)
    expected = reference.run_motion_unet(model)
    assert reference.difference(joint, expected) > 1e-2
    layers = load(saved("motion_adapter", **temporal), fields={"temporal": {"joint_norm": False}})
    assert_equal(call(layers.onto(load(saved("sd1", **spatial)))), expected)
