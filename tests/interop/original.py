"""Public models under the names of the code that they were published with.

    unet, autoencoder, openclip   CompVis and Stability's latent-diffusion, OpenCLIP
    the same with temporal keys   Stability's generative-models (Stable Video Diffusion)
    animatediff                   the authors' motion modules

The tests check these names with diffusers' own converters where it has them; a `whole` file is what
was downloaded then, buffers of the training code included.
"""

import math
import re

import reference
import safetensors.torch

torch = reference.torch

_EDGES = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding": "label_emb",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = (
    ("spatial_res_block.", ""),
    ("temporal_res_block.", "time_stack."),
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
)
_ATTENTION = (
    ("temporal_transformer_blocks.", "time_stack."),
    ("time_pos_embed.linear_1.", "time_pos_embed.0."),
    ("time_pos_embed.linear_2.", "time_pos_embed.2."),
)
_MOTION = (
    (".attn1.", ".attention_blocks.0."),
    (".attn2.", ".attention_blocks.1."),
    (".norm1.", ".norms.0."),
    (".norm2.", ".norms.1."),
    (".norm3.", ".ff_norm."),
)
# Schedules that training left in the files.
BUFFERS = (
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "logvar",
)


def unet(state):
    """Return a U-Net's state dict under the original names, without a prefix."""
    layers = 1 + max(int(found[1]) for found in _matches(r"down_blocks\.0\.resnets\.(\d+)", state))
    return {_unet_name(key, layers, state): tensor for key, tensor in state.items()}


def _unet_name(key, layers, state):
    stem, leaf = key.rsplit(".", 1)
    if stem in _EDGES:
        return f"{_EDGES[stem]}.{leaf}"
    stage, *rest = key.split(".")
    if stage == "mid_block":
        part, number, *inner = rest
        place = f"middle_block.{1 if part == 'attentions' else 2 * int(number)}"
        return f"{place}.{_inner(part, '.'.join(inner))}"
    level, part, number, *inner = rest
    level, number, inner = int(level), int(number), ".".join(inner)
    side, start = ("input_blocks", 1) if stage == "down_blocks" else ("output_blocks", 0)
    # A level going down is its layers and a downsampler, going up one layer more.
    block = start + level * (layers + 1) + number
    if part == "downsamplers":
        return f"{side}.{block + layers}.0.op.{inner.removeprefix('conv.')}"
    if part == "upsamplers":  # stands behind the level's last layer
        attention = f"up_blocks.{level}.attentions.0.norm.weight" in state
        return f"{side}.{block + layers}.{1 + attention}.{inner}"
    return f"{side}.{block}.{int(part == 'attentions')}.{_inner(part, inner)}"


def _inner(part, name):
    for ours, theirs in _RESNET if part == "resnets" else _ATTENTION:
        name = re.sub(rf"\b{re.escape(ours)}", theirs, name)
    return name


def autoencoder(state):
    """Return an autoencoder's state dict under the original names, without a prefix."""
    last = max(int(found[1]) for found in _matches(r"decoder\.up_blocks\.(\d+)", state))
    out = {}
    for key, tensor in state.items():
        if ".attentions.0.to_" in key and key.endswith("weight"):
            tensor = tensor[:, :, None, None]  # a 1x1 convolution there
        out[_autoencoder_name(key, last)] = tensor
    return out


def _autoencoder_name(key, last):
    name = key.replace("decoder.time_conv_out.", "decoder.conv_out.time_mix_conv.")
    name = name.replace("conv_norm_out.", "norm_out.").replace("time_mixer.", "")
    name = name.replace("spatial_res_block.", "").replace("conv_shortcut.", "nin_shortcut.")
    head, found, tail = name.partition("temporal_res_block.")
    if found:
        name = head + _inner("resnets", found + tail)
    for part, theirs in (("group_norm", "norm"), ("to_out.0", "proj_out")):
        name = name.replace(f"mid_block.attentions.0.{part}.", f"mid.attn_1.{theirs}.")
    name = name.replace("mid_block.attentions.0.to_", "mid.attn_1.")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d+)", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{last - int(found[1])}", name)
    name = re.sub(r"resnets\.(\d+)", r"block.\1", name)
    return name.replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")


def openclip(state):
    """Return CLIPTextModel's state dict as OpenCLIP's, all its blocks."""
    state = {key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    out = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
        "text_projection": torch.randn(64, 32),
    }
    layers = 1 + max(int(found[1]) for found in _matches(r"encoder\.layers\.(\d+)", state))
    for i in range(layers):
        source, block = f"encoder.layers.{i}", f"transformer.resblocks.{i}"
        for leaf in ("weight", "bias"):
            joined = [state[f"{source}.self_attn.{x}_proj.{leaf}"] for x in "qkv"]
            out[f"{block}.attn.in_proj_{leaf}"] = torch.cat(joined)
            for ours, theirs in (
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("self_attn.out_proj", "attn.out_proj"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ):
                out[f"{block}.{theirs}.{leaf}"] = state[f"{source}.{ours}.{leaf}"]
    return out


def animatediff(state, frames):
    """Return a MotionAdapter's state dict under the authors' names.

    Args:
        state: of the adapter.
        frames: stored positions.
    """
    out = {}
    for key, tensor in state.items():
        if key.endswith(".pe"):
            continue
        module, inner = re.match(r"(.*motion_modules\.\d+)\.(.+)$", key).groups()
        name = f"{module}.temporal_transformer.{inner}"
        if ".transformer_blocks." in name:
            for ours, theirs in _MOTION:
                name = name.replace(ours, theirs)
        out[name] = tensor
        if name.endswith(".to_q.weight"):
            stem = name.removesuffix("to_q.weight")
            out[f"{stem}pos_encoder.pe"] = sinusoids(frames, tensor.shape[0])
    return out


def sinusoids(frames, width):
    """Return the table (1, frames, width) of the Transformer paper."""
    angle = torch.arange(frames)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10000.0) / width)
    )
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[None]


def average(state):
    """Return averages as they stand beside raw weights: names without dots, and two counters.

    Args:
        state: {"model.diffusion_model...": average}.
    """
    named = {
        "model_ema." + key.removeprefix("model.").replace(".", ""): tensor
        for key, tensor in state.items()
    }
    return named | {
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(7),
    }


def prefixed(prefix, state):
    """Return the state dict with a prefix on every key."""
    return {prefix + key: tensor for key, tensor in state.items()}


def whole(*, unet, vae, text=None, others=None):
    """Return one file of everything.

    Args:
        unet: original names.
        vae: original names.
        text: names with what stands behind "cond_stage_model.".
        others: further keys.
    """
    return {
        **prefixed("model.diffusion_model.", unet),
        **prefixed("first_stage_model.", vae),
        **prefixed("cond_stage_model.", text or {}),
        **{name: torch.linspace(0.0, 1.0, 7) for name in BUFFERS},
        **(others or {}),
    }


def write(path, state):
    """Write a state dict as safetensors and return the path."""
    tensors = {key: tensor.detach().clone().contiguous() for key, tensor in state.items()}
    safetensors.torch.save_file(tensors, path)
    return path


def _matches(pattern, state):
    return [found for key in state if (found := re.match(pattern, key))]
