"""Single files of the original code become the same functions.

`original` writes a public model under the names that it was published with. For Stable Diffusion
the wheel of diffusers has a converter from them: its result must be the model again, so that what
is read here is the layout and not our idea of it. For Stable Video Diffusion it has none; there the
names are those of generative-models' modules.
"""

import jax
import original
import pytest
import reference
from diffusers.loaders import single_file_utils
from reference import INPUTS, assert_equal, assert_same_network

from vldm_jax.core.errors import InputError
from vldm_jax.interop import Pipeline, load

pytestmark = pytest.mark.slow  # whole public networks; CI runs them

torch = reference.torch

# The widths at which heads of 64 channels, what SD 2.x has and nothing in a file says, can be had.
WIDE = {"block_out_channels": (64, 128)}
TWO = {"layers_per_block": 2}  # as in the published files: blocks are numbered through all levels
# name -> (U-Net, its size, the autoencoder's, activation of the text encoder)
FAMILIES = {
    "v1": (reference.sd1, TWO, TWO, "quick_gelu"),
    "v2": (reference.sd2, {**WIDE, "attention_head_dim": (1, 2)}, {}, "gelu"),
    "upscaler": (reference.upscaler, {}, {"levels": 3, "scaling_factor": 0.08333}, "gelu"),
}


class Family:
    """The models of a family and one file of them all."""

    def __init__(self, name, folder):
        make, size, self.vae_size, self.activation = FAMILIES[name]
        self.unet, self.vae = make(**size), reference.autoencoder(**self.vae_size)
        self.text = reference.text_encoder(self.activation)
        self.state = original.whole(
            unet=original.unet(self.unet.state_dict()),
            vae=original.autoencoder(self.vae.state_dict()),
            text=text_names(self.text, clip=name == "v1"),
            others=OTHERS if name == "upscaler" else None,
        )
        self.file = original.write(folder / f"{name}.safetensors", self.state)


# Buffers of the upscaler's noise augmentation, and a discriminator's that training left behind.
OTHERS = {
    "low_scale_model.betas": torch.ones(5),
    "low_scale_model.sqrt_alphas_cumprod": torch.ones(5),
    "first_stage_model.loss.logvar": torch.ones(()),
    "first_stage_model.loss.discriminator.main.0.weight": torch.ones(4, 3, 4, 4),
    "scale_factor": torch.tensor(0.08333),
}


def text_names(model, *, clip):
    if not clip:
        return original.prefixed("model.", original.openclip(model.state_dict()))
    state = {"embeddings.position_ids": torch.arange(11)[None], **model.state_dict()}
    return original.prefixed("transformer.text_model.", state)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return Family(request.param, tmp_path_factory.mktemp(request.param))


def assert_same_state(converted, model):
    wanted = model.state_dict()
    assert converted.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert torch.equal(converted[key], tensor), key


def test_names_are_the_original_ones(family):
    convert = single_file_utils.convert_ldm_unet_checkpoint
    assert_same_state(convert(family.state, family.unet.config), family.unet)
    convert = single_file_utils.convert_ldm_vae_checkpoint
    vae = {k: t for k, t in family.state.items() if "first_stage_model.loss" not in k}
    assert_same_state(convert(vae, family.vae.config), family.vae)


def test_one_file_of_everything(family, saved):
    """Its U-Net is compared with torch; the others with their folders, which are elsewhere."""
    pipeline = load(family.file)
    assert isinstance(pipeline, Pipeline) and pipeline.tokenizer is None
    assert set(pipeline) == {"unet", "vae", "text_encoder"}
    assert_equal(reference.call_unet(pipeline["unet"]), reference.run_unet(family.unet))
    assert_same_network(pipeline["vae"], load(saved("autoencoder", **family.vae_size)))
    assert_same_network(pipeline["text_encoder"], load(saved("text_encoder", family.activation)))


def test_one_part_of_a_file_with_fields_of_its_own(tmp_path):
    model = reference.sd2()
    state = original.whole(
        unet=original.unet(model.state_dict()),
        vae=original.autoencoder(reference.autoencoder().state_dict()),
    )
    net = load(original.write(tmp_path / "x.safetensors", state), "unet", fields={"heads": (2, 4)})
    assert_equal(reference.call_unet(net), reference.run_unet(model))


@pytest.mark.parametrize("ema", [False, True], ids=["raw", "average"])
def test_moving_average_by_choice(tmp_path, ema):
    averaged, raw = reference.sd1(), reference.sd1()
    with torch.no_grad():
        for parameter in raw.parameters():
            parameter += 0.01 * torch.randn(parameter.shape)
    state = original.prefixed("model.diffusion_model.", original.unet(raw.state_dict()))
    values = original.prefixed("model.diffusion_model.", original.unet(averaged.state_dict()))
    state |= original.average(values)
    convert = single_file_utils.convert_ldm_unet_checkpoint
    assert_same_state(convert(state, raw.config, extract_ema=True), averaged)
    net = load(original.write(tmp_path / "full.safetensors", state), ema=ema)
    (averaged if ema else raw).save_pretrained(tmp_path / "one")
    assert_same_network(net, load(tmp_path / "one"))


def test_no_moving_average_where_there_is_none(tmp_path):
    state = original.prefixed("model.diffusion_model.", original.unet(reference.sd1().state_dict()))
    file = original.write(tmp_path / "pruned.safetensors", state)
    with pytest.raises(InputError, match=r"pruned.safetensors has no moving average"):
        load(file, ema=True)


def test_a_moving_average_in_part_is_refused_by_name(tmp_path):
    state = original.unet(reference.sd1().state_dict())
    state = original.prefixed("model.diffusion_model.", state)
    state |= original.average(state)
    del state["model_ema.diffusion_modelout2bias"]
    file = original.write(tmp_path / "full.safetensors", state)
    with pytest.raises(InputError, match=r"full.safetensors lacks 'model_ema\S+out2bias' of its"):
        load(file, ema=True)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_ckpt_through_the_weights_only_loader(tmp_path, dtype):
    model = reference.sd1().to(getattr(torch, dtype))
    state = original.whole(
        unet=original.unet(model.state_dict()),
        vae=original.autoencoder(reference.autoencoder().state_dict()),
    )
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": state, "global_step": 3, "epoch": 0}, file)
    net = load(file, "unet")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(net.params)} == {dtype}
    model.save_pretrained(tmp_path / "folder")
    assert_same_network(net, load(tmp_path / "folder"))


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_an_autoencoder_alone_without_a_prefix(saved, tmp_path, suffix):
    """As the fine-tuned decoders were published, with what their training left."""
    model = reference.autoencoder()
    state = original.autoencoder(model.state_dict()) | {
        "loss.logvar": torch.ones(()),
        "model_ema.decay": torch.tensor(0.999),
        "model_ema.num_updates": torch.tensor(840000),
    }
    file = tmp_path / f"vae{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": state}, file)
    else:
        original.write(file, state)
    assert_same_network(load(file), load(saved("autoencoder")))


def svd_in_the_original(model):
    """The original network's norms have one epsilon, where diffusers' class has two."""
    for name, part in model.named_modules():
        if isinstance(part, torch.nn.GroupNorm) and ".resnets." in name:
            part.eps = 1e-5
    return model


@pytest.mark.slow
def test_stable_video_diffusion(tmp_path):
    unet = svd_in_the_original(reference.svd(**WIDE, num_attention_heads=(1, 2)))
    vae = reference.temporal_autoencoder()
    with torch.no_grad():  # its first stage has no such convolution; one that does nothing is equal
        vae.quant_conv.weight.copy_(torch.eye(8)[:, :, None, None])
        vae.quant_conv.bias.zero_()
    names = original.autoencoder(vae.state_dict())
    del names["quant_conv.weight"], names["quant_conv.bias"]
    state = {
        **original.prefixed("model.diffusion_model.", original.unet(unet.state_dict())),
        **original.prefixed("first_stage_model.", names),
        "conditioner.embedders.0.open_clip.model.visual.proj": torch.ones(4, 4),
        "conditioner.embedders.3.encoder.quant_conv.weight": torch.ones(8, 8, 1, 1),
        "denoiser.sigmas": torch.ones(4),
    }
    assert sum(".time_stack." in key for key in state) > 100
    pipeline = load(original.write(tmp_path / "svd.safetensors", state))
    assert set(pipeline) == {"unet", "vae"}
    assert pipeline["unet"].fields["norm_eps"] == 1e-5
    assert_equal(reference.call_svd(pipeline["unet"]), reference.run_svd(unet))
    vae.save_pretrained(tmp_path / "vae")
    assert_same_network(pipeline["vae"], load(tmp_path / "vae"))


def whole_sd1(**others):
    return original.whole(
        unet=original.unet(reference.sd1().state_dict()),
        vae=original.autoencoder(reference.autoencoder().state_dict()),
        others=others,
    )


@pytest.mark.parametrize(
    "key",
    [
        # a text encoder as generative-models has it: to be dropped would go unnoticed
        "conditioner.embedders.0.model.token_embedding.weight",
        "logvar_mlp.weight",
        "betas.weight",
        "scale_factor_net.bias",
    ],
)
def test_keys_that_only_look_like_what_is_left_out(tmp_path, key):
    state = whole_sd1(**{key: torch.ones(2, 2)})
    file = original.write(tmp_path / "x.safetensors", state)
    with pytest.raises(InputError, match=f"x.safetensors holds '{key}', which belongs to no"):
        load(file)


def test_a_folder_with_one_file_of_everything(saved, tmp_path):
    """As a repository that holds a README and the single file."""
    original.write(tmp_path / "v1-5.safetensors", whole_sd1())
    pipeline = load(tmp_path)
    assert set(pipeline) == {"unet", "vae"}
    assert_same_network(pipeline["unet"], load(saved("sd1")))


def test_a_text_encoder_alone_under_its_prefix(tmp_path):
    model = reference.text_encoder("quick_gelu")
    state = original.prefixed("cond_stage_model.", text_names(model, clip=True))
    net = load(original.write(tmp_path / "text.safetensors", state))
    assert_equal(net(INPUTS.tokens), reference.run_text(model))
