"""Single files of the original code (SD 1.x, 2.x, x4 upscaler, SVD) by diffusers' keys.

    model.diffusion_model.   U-Net              model_ema.          its average, dots left out
    first_stage_model.       autoencoder        cond_stage_model.   text encoder
    conditioner.             in SVD, an image encoder and a copy of its first stage: not read

The original U-Net numbers its blocks in running order; walking them in that order tells level and
layer, whatever the sizes.
"""

import re
from collections.abc import Mapping

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor, constant

UNET, AVERAGE = "model.diffusion_model.", "model_ema."
FIRST_STAGE, TEXT = "first_stage_model.", "cond_stage_model."
CONDITIONER = "conditioner."
# Tables of the noise schedule, and a learned or measured number, that training left in the file.
_BUFFERS = {
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "betas",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
    "posterior_variance",
    "scale_factor",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
}
# The same tables of SVD and of the upscaler's noise augmentation; `average` reads the averages.
_TABLES = ("denoiser.", "low_scale_model.", AVERAGE)
_TOP = {
    "input_blocks.0.0": "conv_in",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_AUTOENCODER = (
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.(q|k|v)\.", r".mid_block.attentions.0.to_\1."),
    (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
    (r"\.down\.(\d+)\.block\.(\d+)\.", r".down_blocks.\1.resnets.\2."),
    (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
)


def left_out(key: str, *, video: bool) -> bool:
    """Return whether a key of a whole file is about training, or an encoder that we don't read.

    Args:
        key: with its prefix.
        video: whether the file is SVD's, whose conditioner holds no text encoder; that of others
            does.
    """
    return key in _BUFFERS or key.startswith((*_TABLES, CONDITIONER) if video else _TABLES)


def no_average(file: str) -> InputError:
    """Return what is said of a moving average that is asked for and not there."""
    return InputError(
        f"{file} has no moving average beside its weights: leave ema (--ema) out to read those"
    )


def average(tensors: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    """Return the moving average of a U-Net under the names of its raw weights.

    Args:
        tensors: of the whole file.
        file: for the message.

    Raises:
        InputError: if there is none.
    """
    raw = [key for key in tensors if key.startswith(UNET)]
    names = {key: AVERAGE + key.removeprefix("model.").replace(".", "") for key in raw}
    missing = [name for name in names.values() if name not in tensors]
    if len(missing) == len(names):
        raise no_average(file)
    if missing:
        raise InputError(
            f"{file} lacks {missing[0]!r} of its moving average: fetch it again, or leave ema "
            "(--ema) out"
        )
    return {key.removeprefix(UNET): tensors[name] for key, name in names.items()}


def unet_to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a U-Net's tensors by diffusers' keys; a key that is not understood keeps its name."""
    places = _places(tensors)
    out = {}
    for key, tensor in tensors.items():
        stem, _, leaf = key.rpartition(".")
        match = re.match(r"((?:input|output)_blocks\.\d+\.\d+|middle_block\.\d+)\.(.+)$", key)
        if stem in _TOP:
            out[f"{_TOP[stem]}.{leaf}"] = tensor
        elif match and match[1] in places:
            out[f"{places[match[1]]}.{_inside(places[match[1]], match[2])}"] = tensor
        else:
            out[key] = tensor
    return out


def _places(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return {"input_blocks.4.0": "down_blocks.1.resnets.0", ...}."""
    places = {}
    for side, name in (("input_blocks", "down_blocks"), ("output_blocks", "up_blocks")):
        level = layer = 0
        for block in _numbers(tensors, rf"{side}\.(\d+)\."):
            prefix = f"{side}.{block}"
            if prefix == "input_blocks.0":
                continue
            if f"{prefix}.0.op.weight" in tensors:
                places[f"{prefix}.0"] = f"{name}.{level}.downsamplers.0"
                level, layer = level + 1, 0
                continue
            places[f"{prefix}.0"] = f"{name}.{level}.resnets.{layer}"
            for part in _numbers(tensors, rf"{prefix}\.(\d+)\.")[1:]:
                if f"{prefix}.{part}.conv.weight" in tensors:
                    places[f"{prefix}.{part}"] = f"{name}.{level}.upsamplers.0"
                    level, layer = level + 1, -1
                else:
                    places[f"{prefix}.{part}"] = f"{name}.{level}.attentions.{layer}"
            layer += 1
    resnets = attentions = 0
    for part in _numbers(tensors, r"middle_block\.(\d+)\."):
        if f"middle_block.{part}.norm.weight" in tensors:
            places[f"middle_block.{part}"] = f"mid_block.attentions.{attentions}"
            attentions += 1
        else:
            places[f"middle_block.{part}"] = f"mid_block.resnets.{resnets}"
            resnets += 1
    return places


def _inside(place: str, rest: str) -> str:
    """Return diffusers' name of a parameter inside a resnet, attention or resampling."""
    kind = place.split(".")[-2]
    if kind == "downsamplers":
        return rest.replace("op.", "conv.")
    if kind == "resnets":
        return _in_resnet(rest)
    if kind == "attentions":
        rest = re.sub(r"^time_stack\.(\d+)\.", r"temporal_transformer_blocks.\1.", rest)
        rest = re.sub(r"^time_pos_embed\.0\.", "time_pos_embed.linear_1.", rest)
        return re.sub(r"^time_pos_embed\.2\.", "time_pos_embed.linear_2.", rest)
    return rest


def _in_resnet(rest: str) -> str:
    # A residual block is a spatio-temporal one if anything of it says so; see `mark_temporal`.
    temporal = rest.startswith("time_stack.")
    stem, _, leaf = rest.removeprefix("time_stack.").rpartition(".")
    name = f"{_RESNET[stem]}.{leaf}" if stem in _RESNET else rest
    return f"temporal_res_block.{name}" if temporal else name


def mark_temporal(tensors: Mapping[str, Tensor], where: str = "") -> dict[str, Tensor]:
    """Return the tensors with spatial residual blocks marked as such beside temporal ones.

    Args:
        tensors: by diffusers' keys, temporal blocks already under theirs.
        where: start of the keys that have temporal layers.
    """
    pattern = re.compile(r"(.*\bresnets\.\d+\.)(?!spatial_res_block|temporal_res_block|time_mixer)")
    return {
        pattern.sub(r"\1spatial_res_block.", key, count=1) if key.startswith(where) else key: tensor
        for key, tensor in tensors.items()
    }


def autoencoder_to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an autoencoder's tensors by diffusers' keys, with SVD's temporal decoder or without.

    The original numbers the decoder's levels from the finest, diffusers in running order. The loss
    of its training and averages may have stayed in the file; they are left out.
    """
    tensors = {k: t for k, t in tensors.items() if not k.startswith(("loss.", AVERAGE))}
    last = max(_numbers(tensors, r"decoder\.up\.(\d+)\."), default=0)
    temporal = "decoder.conv_out.time_mix_conv.weight" in tensors
    out = {}
    for key, tensor in tensors.items():
        name = key.replace("decoder.conv_out.time_mix_conv.", "decoder.time_conv_out.")
        for pattern, replacement in _AUTOENCODER:
            name = re.sub(pattern, replacement, name)
        match = re.match(r"decoder\.up\.(\d+)\.(block\.(\d+)|upsample)\.(.+)$", name)
        if match:
            part = "upsamplers.0" if match[3] is None else f"resnets.{match[3]}"
            name = f"decoder.up_blocks.{last - int(match[1])}.{part}.{match[4]}"
        if temporal and ".resnets." in name:
            head, number, rest = re.match(r"(.*\.resnets\.)(\d+)\.(.+)$", name).groups()
            rest = "time_mixer.mix_factor" if rest == "mix_factor" else _in_resnet(rest)
            name = f"{head}{number}.{rest}"
        out[name] = tensor
    if not temporal:
        return out
    return _identity_quant_conv(out) | mark_temporal(out, "decoder.")


def _identity_quant_conv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a convolution that changes nothing, by diffusers' keys.

    The original SVD has none behind its encoder, diffusers' class and ours have.
    """
    last = tensors.get("encoder.conv_out.bias")
    if last is None:
        return {}
    size = last.shape[0]
    arrays = {"weight": np.eye(size), "bias": np.zeros(size)}
    return {
        f"quant_conv.{name}": constant(last.file, f"quant_conv.{name}", array.astype(last.dtype))
        for name, array in arrays.items()
    }


def _numbers(tensors: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted({int(match[1]) for key in tensors if (match := re.match(pattern, key))})
