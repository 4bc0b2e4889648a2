"""What a set of tensors is, told from keys alone, and under which keys diffusers has it."""

import re
from collections.abc import Mapping

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.layouts import autoencoder, motion, original, text

_ADAPTERS = (
    (r"(.*\.)?lora_(A|B|up|down|unet|te\d?)(\.|_)|.*(\.|_)lora\.", "a LoRA"),
    (r"(control_model\.|controlnet_|.*zero_convs\.)", "a ControlNet"),
    (r"emb_params|string_to_param|<[^>]+>$", "a textual inversion"),
    (r"(image_proj|ip_adapter)\.", "an IP-Adapter"),
)

# Start of a key in a single file -> network.
_PARTS = {
    original.UNET: "unet",
    original.FIRST_STAGE: "vae",
    f"{original.TEXT}transformer.": "text_encoder",
    f"{original.TEXT}model.": "text_encoder",
}


def identify(file: str, tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Return (name of the format, tensors by diffusers' keys).

    Args:
        file: for messages.
        tensors: of one network, without a prefix.

    Raises:
        InputError: if it is no network that is known, something that goes onto one, or one of its
            tensors is empty.
    """
    if not tensors:
        raise InputError(f"{file} holds no tensors")
    for tensor in tensors.values():
        if 0 in tensor.shape:
            raise InputError(f"{tensor.file}: {tensor.key!r} is empty, its shape is {tensor.shape}")
    refuse_adapters(file, tensors)
    if any(".motion_modules." in key for key in tensors):
        named = motion.to_diffusers(tensors)
        whole = "time_embedding.linear_1.weight" in named
        return ("motion_unet" if whole else "motion_modules"), named
    if "input_blocks.0.0.weight" in tensors:
        named = original.unet_to_diffusers(tensors)
        if any(".temporal_res_block." in key for key in named):
            return "original_video_unet", original.mark_temporal(named)
        return "unet", named
    if "time_embedding.linear_1.weight" in tensors:
        video = any(".temporal_res_block." in key for key in tensors)
        return ("video_unet" if video else "unet"), dict(tensors)
    if any(re.match(r"(encoder|decoder)\.(conv_in|mid|down|up)", key) for key in tensors):
        if any(re.match(r"encoder\.down\.|decoder\.up\.", key) for key in tensors):
            named = original.autoencoder_to_diffusers(tensors)
        else:
            named = autoencoder.modern(tensors)
        video = "decoder.time_conv_out.weight" in named
        return ("video_autoencoder" if video else "autoencoder"), named
    if any("token_embedding.weight" in key for key in tensors):
        text.check_whole(tensors)
        return ("openclip" if text.is_openclip(tensors) else "text_encoder"), text.flat(tensors)
    first = next(iter(tensors.values()))
    raise InputError(
        f"{file} holds no U-Net, autoencoder, text encoder or motion modules that are known; one "
        f"of its keys is {first.key!r}"
    )


def refuse_adapters(file: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise if the tensors are something that is added to a model.

    Raises:
        InputError: naming what it is and the key that tells.
    """
    for key, tensor in tensors.items():
        for pattern, name in _ADAPTERS:
            if re.match(pattern, key):
                raise InputError(
                    f"{file} is {name} ({tensor.key!r}), not a whole model: give the model that "
                    "it was made for, or a merged one"
                )


def split(
    file: str, tensors: Mapping[str, Tensor], *, part: str | None, ema: bool
) -> dict[str, dict[str, Tensor]]:
    """Return the networks of a single file of the original code, prefixes removed.

    Args:
        file: for messages.
        tensors: of the whole file.
        part: the only one that is wanted, whatever else there is; None for all.
        ema: the U-Net's moving average instead of its raw weights.

    Returns:
        {"unet", "vae", "text_encoder": tensors}, those that are there; {} if it is no such file.

    Raises:
        InputError: if a key belongs to none and all are wanted, or there is no moving average.
    """
    starts = (original.UNET, original.FIRST_STAGE, original.TEXT, original.CONDITIONER)
    if not any(key.startswith(starts) for key in tensors):
        return {}
    if part is None:
        refuse_adapters(file, tensors)
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    video = any(".time_stack." in key for key in tensors)
    for key, tensor in tensors.items():
        prefix = next((start for start in _PARTS if key.startswith(start)), None)
        if prefix is not None:
            parts.setdefault(_PARTS[prefix], {})[key.removeprefix(prefix)] = tensor
        elif not original.left_out(key, video=video):
            unknown.append(tensor.key)
    if unknown and part is None:
        raise InputError(
            f"{file} holds {unknown[0]!r}, which belongs to no network that is known: take what "
            f"you need alone, with --part ({', '.join(parts)})"
        )
    if ema:
        parts["unet"] = original.average(tensors, file)
    return parts
