"""Write networks for others: diffusers and transformers folders, and weights files of ours.

A folder is written under a temporary name and renamed, so it is whole or absent. Files of weights
are split above 5 GB as the hub does, with an index of where each tensor is.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vldm_jax.checkpoint.weights import cast, save_arrays, save_weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new
from vldm_jax.interop.card import model_card
from vldm_jax.interop.layouts import names
from vldm_jax.interop.layouts.formats import Format, format_of, ways_out
from vldm_jax.models.network import Network

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
    form = format_of(network.kind, network.fields)
    check_new(folder)
    flat = paths.flatten(network.params)
    try:
        config = form.config_of(network.fields, _channels(flat, network))
    except InputError as error:
        raise InputError(f"{error}: {ways_out(network.kind)}") from error
    notes = form.notes(network.fields)
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        stem, header = _LIBRARIES[form.library]
        _write_shards(temporary, stem, _tensors(form, network, flat, dtype), shard_bytes)
        settings = header(form) | _present(config) | _carried(form, network.meta)
        text = json.dumps(settings, indent=2, sort_keys=True)
        (temporary / "config.json").write_text(text + "\n", encoding="utf-8")
        card = model_card(network, form, notes)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return notes


def save(network: Network, file: str | Path, *, dtype: str | None = None) -> None:
    """Write a network as a weights file of this project.

    Args:
        network: of any kind.
        file: *.safetensors.
        dtype: as `export`.
    """
    meta = {"kind": network.kind, "config": network.fields, **network.meta}
    save_weights(file, network.params, meta, dtype=dtype)


def _channels(flat: Mapping[str, Any], network: Network) -> int:
    for path in ("conv_in/kernel", "encoder/conv_in/kernel"):
        if path in flat:
            return flat[path].shape[2]
    return network.fields.get("out_channels", 0)


def _tensors(
    form: Format, network: Network, flat: Mapping[str, Any], dtype: str | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (key, array) as the class has them."""
    for path, leaf in flat.items():
        key = form.key_of(path)
        array = names.theirs(path, cast("the export", key, jax.device_get(leaf), dtype))
        yield form.stored(key, array)
    widths = {form.key_of(path): leaf.shape[-1] for path, leaf in flat.items() if leaf.shape}
    for key, absent in form.absent(widths, network.fields).items():
        yield key, absent.astype(array.dtype)


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


# library -> name of its files of weights, first entries of its config.json
_LIBRARIES: dict[str, tuple[str, Callable[[Format], dict[str, Any]]]] = {
    "diffusers": (
        "diffusion_pytorch_model",
        lambda form: {"_class_name": form.class_name, "_diffusers_version": TESTED},
    ),
    "transformers": ("model", lambda form: {"architectures": [form.class_name]}),
}


def _carried(form: Format, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of where the network, or its image model, came from that the class has, too."""
    settings = meta.get("settings") or meta.get("image_model", {}).get("settings", {})
    return {name: value for name, value in settings.items() if name in form.carried}


def _present(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if value is not None}
