"""The public classes that networks come from and go to, one row each.

| name | class | kind here |
|---|---|---|
| unet | diffusers UNet2DConditionModel | unet |
| video_unet | diffusers UNetSpatioTemporalConditionModel | video_unet |
| original_video_unet | the same in the code it was published with | video_unet |
| motion_unet | diffusers UNetMotionModel | video_unet |
| motion_modules | diffusers MotionAdapter | temporal |
| autoencoder | diffusers AutoencoderKL | autoencoder |
| video_autoencoder | diffusers AutoencoderKLTemporalDecoder | autoencoder |
| text_encoder | transformers CLIPTextModel | text_encoder |
| openclip | the same in OpenCLIP | text_encoder |

The two rows of original code differ in what their layout means where no config says it, and come
only: what goes is in the public classes' layout.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.layouts import autoencoder, motion, names, text, unet, video_unet
from vldm_jax.nn.motion import MotionSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """One public class.

    Attributes:
        kind: as `Network.kind`.
        class_name: of diffusers or transformers.
        key_of: our parameter path -> its key.
        fields: (tensors by its keys, config or None) -> fields of our module.
        config_of: (fields, input channels) -> its config; raises for what it cannot express.
        settings: entries of a config that are compared with the network; None for all.
        carried: entries that are not about the network's outputs, but that pipelines read: kept
            from where it came from, written again where it goes.
    """

    kind: str
    class_name: str
    key_of: names.Key
    fields: Callable[[Mapping[str, Tensor], Mapping[str, Any] | None], dict[str, Any]]
    config_of: Callable[[Mapping[str, Any], int], dict[str, Any]]
    settings: frozenset[str] | None = None
    carried: tuple[str, ...] = ()


FORMATS = {
    "unet": Format(
        kind="unet",
        class_name=unet.CLASS,
        key_of=names.image_key,
        fields=unet.fields,
        config_of=unet.config_of,
        carried=("sample_size", "upcast_attention"),
    ),
    "video_unet": Format(
        kind="video_unet",
        class_name=video_unet.CLASS,
        key_of=names.video_key,
        fields=video_unet.fields,
        config_of=video_unet.config_of,
        carried=("sample_size", "num_frames"),
    ),
    "motion_unet": Format(
        kind="video_unet",
        class_name=motion.UNET_CLASS,
        key_of=names.motion_key,
        fields=motion.unet_fields,
        config_of=motion.unet_config_of,
        carried=("sample_size",),
    ),
    "motion_modules": Format(
        kind="temporal",
        class_name=motion.CLASS,
        key_of=names.motion_key,
        fields=motion.fields,
        config_of=motion.config_of,
    ),
    "autoencoder": Format(
        kind="autoencoder",
        class_name=autoencoder.CLASS,
        key_of=names.image_key,
        fields=autoencoder.fields,
        config_of=autoencoder.config_of,
        carried=("sample_size", "force_upcast"),
    ),
    "video_autoencoder": Format(
        kind="autoencoder",
        class_name=autoencoder.VIDEO_CLASS,
        key_of=names.video_key,
        fields=autoencoder.fields,
        config_of=autoencoder.config_of,
        carried=("sample_size", "force_upcast"),
    ),
    "text_encoder": Format(
        kind="text_encoder",
        class_name=text.CLASS,
        key_of=names.image_key,
        fields=text.fields,
        config_of=text.config_of,
        settings=frozenset(text.SHAPES),
    ),
}
FORMATS |= {
    "original_video_unet": dataclasses.replace(
        FORMATS["video_unet"], fields=video_unet.original_fields
    ),
    "openclip": dataclasses.replace(FORMATS["text_encoder"], fields=text.openclip_fields),
}


def format_of(kind: str, module: nn.Module) -> Format:
    """Return the format that a network of ours leaves in."""
    motion_modules = isinstance(getattr(module, "temporal", None), MotionSpec)
    if kind == "video_unet" and motion_modules:
        return FORMATS["motion_unet"]
    if kind == "temporal":
        return FORMATS["motion_modules"]
    if kind == "autoencoder" and module.temporal_decoder:
        return FORMATS["video_autoencoder"]
    return FORMATS[kind]
