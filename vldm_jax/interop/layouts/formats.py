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

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.interop.files.tensors import Tensor
from vldm_jax.interop.layouts import autoencoder, motion, names, text, unet, video_unet

Tensors = Mapping[str, Tensor]
Fields = Mapping[str, Any]


def _always(fields: Fields) -> bool:
    return True


def _never(fields: Fields) -> bool:
    return False


def _family(name: str) -> Callable[[Fields], bool]:
    return lambda fields: fields["temporal"]["family"] == name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """One public class, with all that is special about it.

    Attributes:
        kind: as `Network.kind`.
        class_name: of diffusers or transformers.
        library: which of the two.
        key_of: our parameter path -> its key.
        fields: (tensors by its keys, config or None) -> fields of our module.
        config_of: (fields, input channels) -> its config; raises for what it cannot express.
        leaves: fields -> whether a network of the kind with these goes out as this class.
        parameters: tensors by its keys -> those that are parameters here; what is left out our
            network computes, and it raises where that would be something else.
        stored: (key, array) -> the same as an export stores them.
        absent: (widths by its keys, fields) -> arrays that it stores and our network has not.
        notes: fields -> what an export changes in late digits, a sentence each.
        settings: entries of a config that are compared with the network; None for all.
        carried: entries that are not about the network's outputs, but that pipelines read: kept
            from where it came from, written again where it goes.
    """

    kind: str
    class_name: str
    library: str = "diffusers"
    key_of: names.Key
    fields: Callable[[Tensors, Mapping[str, Any] | None], dict[str, Any]]
    config_of: Callable[[Fields, int], dict[str, Any]]
    leaves: Callable[[Fields], bool] = _always
    parameters: Callable[[Tensors], dict[str, Tensor]] = dict
    stored: Callable[[str, np.ndarray], tuple[str, np.ndarray]] = lambda key, array: (key, array)
    absent: Callable[[Mapping[str, int], Fields], dict[str, np.ndarray]] = lambda widths, fields: {}
    notes: Callable[[Fields], list[str]] = lambda fields: []
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
        leaves=_family("video_ldm"),
        stored=video_unet.stored,
        absent=video_unet.absent_parts,
        notes=video_unet.deviations,
        carried=("sample_size", "num_frames"),
    ),
    "motion_unet": Format(
        kind="video_unet",
        class_name=motion.UNET_CLASS,
        key_of=names.motion_key,
        fields=motion.unet_fields,
        config_of=motion.unet_config_of,
        leaves=_family("animatediff"),
        parameters=motion.without_positions,
        absent=motion.absent_parts,
        carried=("sample_size",),
    ),
    "motion_modules": Format(
        kind="temporal",
        class_name=motion.CLASS,
        key_of=names.motion_key,
        fields=motion.fields,
        config_of=motion.config_of,
        leaves=_family("animatediff"),
        parameters=motion.without_positions,
        absent=motion.absent_parts,
    ),
    "autoencoder": Format(
        kind="autoencoder",
        class_name=autoencoder.CLASS,
        key_of=names.image_key,
        fields=autoencoder.fields,
        config_of=autoencoder.config_of,
        leaves=lambda fields: not fields["temporal_decoder"],
        carried=("sample_size", "force_upcast"),
    ),
    "video_autoencoder": Format(
        kind="autoencoder",
        class_name=autoencoder.VIDEO_CLASS,
        key_of=names.video_key,
        fields=autoencoder.fields,
        config_of=autoencoder.config_of,
        leaves=lambda fields: fields["temporal_decoder"],
        carried=("sample_size", "force_upcast"),
    ),
    "text_encoder": Format(
        kind="text_encoder",
        class_name=text.CLASS,
        library="transformers",
        key_of=names.image_key,
        fields=text.fields,
        config_of=text.config_of,
        stored=text.stored,
        settings=frozenset(text.SHAPES),
    ),
}
FORMATS |= {
    "original_video_unet": dataclasses.replace(
        FORMATS["video_unet"], fields=video_unet.original_fields, leaves=_never
    ),
    "openclip": dataclasses.replace(
        FORMATS["text_encoder"], fields=text.openclip_fields, leaves=_never
    ),
}


def format_of(kind: str, fields: Fields) -> Format:
    """Return the format that a network of ours leaves in.

    Args:
        kind: as `Network.kind`.
        fields: of the network.

    Raises:
        InputError: if no public class has such temporal layers.
    """
    for form in FORMATS.values():
        if form.kind == kind and form.leaves(fields):
            return form
    family = fields["temporal"]["family"]
    raise InputError(
        f"temporal layers of the family {family!r} have no class in diffusers{_alone(kind, fields)}"
    )


def ways_out(kind: str) -> str:
    """Return how a network of a kind leaves that no public class can express."""
    return f"export with --to weights or --to program{' --onto UNET' if kind == 'temporal' else ''}"


def _alone(kind: str, fields: Fields) -> str:
    """Return what can be done with temporal layers that have no class: their network may have."""
    whole = [f for f in FORMATS.values() if f.kind == "video_unet" and f.leaves(fields)]
    if not whole:
        return f": {ways_out(kind)}"
    try:
        whole[0].config_of(fields, 0)
    except InputError as error:
        return f", nor has the video U-Net that they make ({error}): {ways_out(kind)}"
    return ": export with --to weights, or with --onto UNET the video U-Net that they make"
