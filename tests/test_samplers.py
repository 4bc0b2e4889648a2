"""A sampler of loaded networks: made of what belongs together, anything else refused in a line."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax import roll_out, window_of
from vldm_jax.config.base import denoising_config
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.interop import save
from vldm_jax.models import table
from vldm_jax.models.network import CLASSES
from vldm_jax.samplers import make_sampler
from vldm_jax.stages.origin import latents_fingerprint

UNET = {"channels": (4,), "attention": (False,), "layers_per_level": 1, "norm_groups": 1}
VIDEO = {**UNET, "temporal": {"mix": "per_frame", "num_frames": 3}}
FIELDS = {
    "unet": UNET,
    "video_unet": VIDEO,
    "temporal": VIDEO,
    "autoencoder": {"base": 4, "mult": (1, 1), "latent_channels": 4, "norm_groups": 4},
}
DIFFUSION = denoising_config().diffusion.to_dict()
# As an import from diffusers records it: no weighting of a loss.
IMPORTED = {name: value for name, value in DIFFUSION.items() if name != "min_snr_gamma"}
SAID = {"size": [8, 16], "diffusion": IMPORTED}


def network(kind, meta=None, **fields):
    """A network of zeros."""
    module = table.module_of(kind, FIELDS[kind] | fields, jnp.float32)
    fields = table.fields_of(module)
    shapes = table.abstract_params(module, *module.smallest_inputs(4))
    if kind == table.TEMPORAL:
        module, shapes = None, table.temporal_part(shapes)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    meta = SAID if meta is None else meta
    made = CLASSES[kind](kind=kind, module=module, params=params, fields=fields, meta=meta)
    return dataclasses.replace(made, source=f"my {kind}")


AUTOENCODER = network("autoencoder", {}, latent_scale=0.5)


def test_what_a_network_says_makes_its_sampler():
    sampler, params = make_sampler(network("video_unet"), AUTOENCODER, steps=4)
    assert sampler.shape == (3, 4, 8, 4) and sampler.target == DIFFUSION["target"]
    assert set(params) == {"network", "autoencoder"}
    sampler, _ = make_sampler(network("unet"), AUTOENCODER, size=(4, 4))
    assert sampler.shape == (2, 2, 4)


def continuing(**told):
    """A video network with context frames, and a sampler of it."""
    more = ({"kind": "context_frames", "channels": 4}, *({"kind": kind} for kind in told))
    video = network("video_unet", temporal={"mix": "scalar"}, more_conditions=more)
    return make_sampler(video, AUTOENCODER, frames=3, steps=2)


@pytest.mark.parametrize("told", [{}, {"context_noise": True}])
def test_windows_go_on_from_given_frames_each_with_noise_of_its_own(told):
    """The network is zero: what it makes is its noise."""
    sampler, params = continuing(**told)
    window = window_of(sampler, params, jax.random.key(0), jnp.arange(2), {})
    first = jnp.ones((2, 1, *sampler.shape[1:]))
    z, tail = roll_out(window, first, jnp.arange(2), frames=3)
    assert z.shape == (2, 4, *sampler.shape[1:])
    np.testing.assert_array_equal(tail, z[:, -1:])
    again, _ = roll_out(window, first, jnp.zeros(2, int), frames=3)
    np.testing.assert_allclose(again[:, :2], again[:, 2:], atol=1e-5)  # one number, one noise
    frames = z.reshape(8, -1)
    apart = [np.abs(a - b).max() for i, a in enumerate(frames) for b in frames[:i]]
    assert min(apart) > 0.1
    given = jnp.array([[True, False, False]] * 2)
    whole = window(jnp.concatenate([first, first, first], axis=1), given, jnp.array(7))
    np.testing.assert_array_equal(whole[:, :1], first)


def test_guidance_away_from_no_labels_leaves_context_frames():
    sampler, _ = continuing()
    keys = [one.keys for one in sampler.guidance]
    assert keys == [(), ("context_frames",)]


@pytest.mark.parametrize("meta", [{"size": [8, 8]}, {"diffusion": {"target": "v"}}])
def test_an_image_model_says_what_its_temporal_layers_do_not(meta):
    """As AnimateDiff's on a Stable Diffusion."""
    video = network("video_unet", meta | {"image_model": SAID})
    sampler, _ = make_sampler(video, AUTOENCODER)
    assert sampler.shape[1:3] == ((4, 4) if "size" in meta else (4, 8))
    assert sampler.target == meta.get("diffusion", DIFFUSION)["target"]


def test_a_diffusion_is_completed():
    unet = network("unet", SAID | {"diffusion": {"target": "v"}})
    with pytest.raises(InputError, match="my unet does not tell its diffusion's schedule: give"):
        make_sampler(unet, AUTOENCODER)
    schedule = DIFFUSION["schedule"]
    sampler, _ = make_sampler(unet, AUTOENCODER, diffusion={"schedule": schedule})
    assert sampler.target == "v"
    with pytest.raises(InputError, match="diffusion has no key 'taget'.*'target'"):
        make_sampler(unet, AUTOENCODER, diffusion={"schedule": schedule, "taget": "v"})


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("temporal", "autoencoder"), r"my temporal has temporal layers alone: .*onto\(UNET\)"),
        (("autoencoder", "autoencoder"), "my autoencoder is of kind 'autoencoder', which denoises"),
        (("unet", "unet"), "autoencoder: my unet is of kind 'unet', which decodes no latents"),
    ],
)
def test_a_network_in_the_place_of_another_is_refused(kinds, message):
    with pytest.raises(InputError, match=message):
        make_sampler(*map(network, kinds))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"size": (0, 0)}, "size 0x0 must be positive multiples of 2"),
        ({"size": (8, 7)}, "size 8x7 must be positive multiples of 2"),
        ({"size": (-8, 8)}, "size -8x8 must be"),
        ({"frames": -1}, "frames=-1 of my video_unet must be 1 or more"),
        ({"frames": 0}, "frames=0 of my video_unet must be"),
    ],
)
def test_impossible_sizes_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        make_sampler(network("video_unet"), AUTOENCODER, **asked)


def test_other_channels_are_refused():
    with pytest.raises(InputError, match="takes 4 channels and returns 4, .* have 8"):
        make_sampler(network("unet"), network("autoencoder", {}, latent_channels=8))


def test_latents_of_another_autoencoder_are_refused(tmp_path):
    """By the fingerprint; of older networks by the hash of a file, where there is one."""
    print_ = latents_fingerprint(AUTOENCODER.params, 0.5)
    unet = network("unet", SAID | {"latents": print_})
    make_sampler(unet, AUTOENCODER)
    wrong = network("unet", SAID | {"latents": 64 * "a"})
    with pytest.raises(InputError, match="my unet was trained on the latents of another .*NETWORK"):
        make_sampler(wrong, AUTOENCODER)

    file = tmp_path / "autoencoder.safetensors"
    save(AUTOENCODER, file)
    stored = dataclasses.replace(AUTOENCODER, source=str(file))
    make_sampler(network("unet", SAID | {"autoencoder_sha256": sha256(file)}), stored)
    older = network("unet", SAID | {"autoencoder_sha256": 64 * "a"})
    make_sampler(older, AUTOENCODER)  # nothing to compare with
    with pytest.raises(InputError, match="latents of another autoencoder than .*safetensors"):
        make_sampler(older, stored)


def test_an_autoencoder_that_leaves_its_scale_out_has_the_usual():
    fields = {name: v for name, v in FIELDS["autoencoder"].items() if name != "latent_scale"}
    usual = network("autoencoder", {})
    silent = dataclasses.replace(usual, fields=fields)

    def unet(scale):
        print_ = latents_fingerprint(usual.params, scale)
        return network("unet", SAID | {"latents": print_})

    make_sampler(unet(usual.module.latent_scale), silent)
    with pytest.raises(InputError, match="latents of another autoencoder"):
        make_sampler(unet(0.5), silent)
