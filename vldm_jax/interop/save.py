"""Write networks for others: diffusers and transformers folders, and weights files of ours.

A folder is written under a temporary name and renamed, so it is whole or absent. Files of weights
are split above 5 GB as the hub does, with an index of where each tensor is.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vldm_jax.checkpoint.weights import cast, save_arrays, save_weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new
from vldm_jax.interop.card import model_card
from vldm_jax.interop.layouts import motion, names, video_unet
from vldm_jax.interop.layouts.formats import FORMATS, Format, format_of
from vldm_jax.interop.network import Network
from vldm_jax.models import table

SHARD_BYTES = 5_000_000_000
TESTED = "0.42.1"  # version of diffusers that the suite reads exports with


def export(
    network: Network,
    folder: str | Path,
    *,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[str]:
    """Write a network as the folder that `from_pretrained` of its public class loads.

    Args:
        network: of any kind; temporal layers of this project have no public class.
        folder: to write; absent or empty.
        dtype: "float32", "bfloat16" or "float16"; None keeps each array's.
        shard_bytes: largest file of weights.

    Returns:
        What the class changes in the last digits of the outputs, a sentence each; mostly nothing.

    Raises:
        InputError: naming what the class cannot express; nothing is written then.
    """
    form = exported_format(network)
    check_new(folder)
    flat = paths.flatten(network.params)
    config = form.config_of(network.config, _channels(flat, network))
    form_notes = _notes(form, network)
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        stem = "model" if form.kind == "text_encoder" else "diffusion_pytorch_model"
        _write_shards(temporary, stem, _tensors(form, network, flat, config, dtype), shard_bytes)
        header = _header(form)
        settings = header | _present(config) | _carried(form, network.meta)
        text = json.dumps(settings, indent=2, sort_keys=True)
        (temporary / "config.json").write_text(text + "\n", encoding="utf-8")
        card = model_card(network, class_name=form.class_name, notes=form_notes)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return form_notes


def save(network: Network, file: str | Path, *, dtype: str | None = None) -> None:
    """Write a network as a weights file of this project.

    Args:
        network: of any kind.
        file: *.safetensors.
        dtype: as `export`.
    """
    meta = {"kind": network.kind, "config": network.config, **network.meta}
    save_weights(file, network.params, meta, dtype=dtype)


def exported_format(network: Network) -> Format:
    """Return the public class that a network leaves as.

    Raises:
        InputError: if there is none.
    """
    if network.kind == table.TEMPORAL:
        family = network.config["temporal"]["family"]
        if family != "animatediff":
            raise InputError(
                f"temporal layers of the family {family!r} have no class in diffusers: export them "
                "with --to weights, or the video U-Net that they make with --onto a backbone"
            )
        return FORMATS["motion_modules"]
    return format_of(network.kind, network.module)


def _notes(form: Format, network: Network) -> list[str]:
    return video_unet.deviations(network.config) if form is FORMATS["video_unet"] else []


def _channels(flat: Mapping[str, Any], network: Network) -> int:
    for path in ("conv_in/kernel", "encoder/conv_in/kernel"):
        if path in flat:
            return flat[path].shape[2]
    return network.config.get("out_channels", 0)


def _tensors(
    form: Format,
    network: Network,
    flat: Mapping[str, Any],
    config: Mapping[str, Any],
    dtype: str | None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (key, array) as the class has them."""
    prefix = "text_model." if form.kind == "text_encoder" else ""
    video = form is FORMATS["video_unet"]
    for path, leaf in flat.items():
        key = prefix + form.key_of(path)
        array = names.theirs(path, cast("the export", key, jax.device_get(leaf), dtype))
        if video and key.endswith((".proj_in.weight", ".proj_out.weight")):
            array = array.reshape(array.shape[:2])  # linear there, 1x1 convolution in SD 1.x
        yield key, array
    kind, absent = array.dtype, {}
    if video:
        absent = video_unet.absent_parts(config, network.config)
    elif form in (FORMATS["motion_modules"], FORMATS["motion_unet"]):
        widths = {form.key_of(path): leaf.shape[-1] for path, leaf in flat.items()}
        absent = motion.absent_parts(widths, network.config)
    for key, array in absent.items():
        yield key, array.astype(kind)


def _write_shards(
    folder: Path, stem: str, tensors: Iterator[tuple[str, np.ndarray]], limit: int
) -> None:
    """Write one file, or several of at most `limit` bytes with an index; one shard is in memory."""
    shards: list[Path] = []
    where: dict[str, int] = {}
    pending: dict[str, np.ndarray] = {}
    total = held = 0

    def flush() -> None:
        path = folder / f"{len(shards)}.part"
        save_arrays(path, pending, {"format": "pt"})
        where.update(dict.fromkeys(pending, len(shards)))
        shards.append(path)
        pending.clear()

    for key, array in tensors:
        if pending and held + array.nbytes > limit:
            flush()
            held = 0
        pending[key] = array
        held += array.nbytes
        total += array.nbytes
    flush()
    if len(shards) == 1:
        shards[0].rename(folder / f"{stem}.safetensors")
        return
    files = [f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    for path, name in zip(shards, files, strict=True):
        path.rename(folder / name)
    index = {
        "metadata": {"total_size": total},
        "weight_map": {key: files[number] for key, number in sorted(where.items())},
    }
    text = json.dumps(index, indent=2)
    (folder / f"{stem}.safetensors.index.json").write_text(text + "\n", encoding="utf-8")


def _header(form: Format) -> dict[str, Any]:
    if form.kind == "text_encoder":
        return {"architectures": [form.class_name]}
    return {"_class_name": form.class_name, "_diffusers_version": TESTED}


def _carried(form: Format, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of where the network, or its image model, came from that the class has, too."""
    settings = meta.get("settings") or meta.get("image_model", {}).get("settings", {})
    return {name: value for name, value in settings.items() if name in form.carried}


def _present(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if value is not None}
