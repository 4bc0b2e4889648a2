"""A public checkpoint as a folder of weights files, which configs can name.

    unet.safetensors, autoencoder.safetensors, text_encoder.safetensors, ...
    tokenizer/                  as it came
    null_context.safetensors    the empty prompt, encoded: config.model.null_context

Everything is looked at before anything is written, and the folder is whole or absent. One network
is in memory at a time.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from vldm_jax.checkpoint.weights import save_arrays
from vldm_jax.core import paths
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new, sha256
from vldm_jax.interop.find import find
from vldm_jax.interop.finite import check_finite
from vldm_jax.interop.load import load, read_host
from vldm_jax.interop.save import save
from vldm_jax.interop.tokenizer import copy_tokenizer, load_tokenizer
from vldm_jax.interop.weights import find_weights
from vldm_jax.models.network import Network, TextNetwork
from vldm_jax.models.table import TEMPORAL

NULL_CONTEXT = "null_context.safetensors"
_DENOISERS = ("unet", "video_unet", TEMPORAL)


def import_checkpoint(
    path: str,
    out: str | Path,
    *,
    part: str | None = None,
    dtype: str | None = None,
    fields: Mapping[str, Any] | None = None,
    ema: bool = False,
    onto: str | None = None,
    diffusion: str | None = None,
    non_finite: bool = False,
) -> list[str]:
    """Write the networks of a checkpoint as weights files.

    Args:
        path: as `interop.load`.
        out: folder to write; absent or empty.
        part: of several networks, the only one to write.
        dtype: to cast to; None keeps what is stored.
        fields: of the module, what the checkpoint does not tell.
        ema: of a single file or a training's folder with both, the U-Net's moving average.
        onto: weights file of an image U-Net that temporal layers are to stand on from now.
        diffusion: what the U-Net was trained to predict, "epsilon" or "v".
        non_finite: take weights with values that are NaN or infinite.

    Returns:
        One line on each file, and notes on what the checkpoint leaves open.

    Raises:
        InputError: naming file and key; nothing is written then.
    """
    found = find(path, part=part, fields=fields, ema=ema)
    if onto is not None:
        found = {name: _moved(network, onto) for name, network in found.items()}
    notes = []
    if diffusion is not None:
        found, notes = _told(path, found, diffusion)
    tokenizer = resolve(path) / "tokenizer"
    has_text = part is None and tokenizer.is_dir()
    if has_text:
        load_tokenizer(tokenizer)  # raises for what could not be used
    check_new(out)
    with atomic_path(out) as folder:
        folder.mkdir(parents=True)
        for network in found.values():
            whole = read_host(network, dtype)
            notes += check_finite(whole, network, allowed=non_finite)
            save(whole, folder / f"{network.kind}.safetensors")
        if has_text:
            copy_tokenizer(tokenizer, folder / "tokenizer")
            if any(network.kind == "text_encoder" for network in found.values()):
                _write_null_context(folder)
    lines = [_line(Path(out), network) for network in found.values()]
    kinds = {network.kind for network in found.values()}
    if part is None and "text_encoder" in kinds and not has_text:
        lines.append(f"no tokenizer beside the text encoder: no {NULL_CONTEXT}")
    notes += [_UNTOLD.format(n.source) for n in found.values() if _is_untold(n)]
    notes += [_HOMELESS.format(n.source) for n in found.values() if _is_homeless(n)]
    return [*lines, *(f"note: {note}" for note in notes)]


_UNTOLD = (
    "{} does not say whether its U-Net predicts epsilon or v, and no config is compared with it: "
    "say --diffusion epsilon (Stable Diffusion 1.x, 2.x-base) or --diffusion v (2.x at 768 pixels)"
)

_HOMELESS = (
    "{} does not say which image U-Net its layers stand on, and sampling asks for one: import it "
    "with --onto UNET.safetensors"
)


def _is_homeless(network: Network) -> bool:
    return network.kind == TEMPORAL and "backbone" not in network.meta


def _is_untold(network: Network) -> bool:
    return network.kind == "unet" and "target" not in network.meta.get("diffusion", {})


def _told(
    path: str, found: Mapping[str, Network], target: str
) -> tuple[dict[str, Network], list[str]]:
    """Return the networks with what the user says of their diffusion, and what contradicts it.

    Raises:
        InputError: if none of them was trained on one.
    """
    trained = [name for name, network in found.items() if network.kind in _DENOISERS]
    if not trained:
        kinds = ", ".join(sorted(network.kind for network in found.values()))
        raise InputError(f"--diffusion is for a U-Net or its temporal layers, {path} has {kinds}")
    told, notes = dict(found), []
    for name in trained:
        diffusion = found[name].meta.get("diffusion", {})
        if diffusion.get("target", target) != target:
            notes.append(
                f"{found[name].source} says itself that it predicts {diffusion['target']}; "
                f"recorded is {target}, as --diffusion says"
            )
        meta = {**found[name].meta, "diffusion": {**diffusion, "target": target}}
        told[name] = dataclasses.replace(found[name], meta=meta)
    return told, notes


def _line(out: Path, network: Network) -> str:
    count = paths.count(paths.flatten(network.params).values())
    return f"{out / network.kind}.safetensors: {count:,} parameters"


def _moved(found: Network, backbone: str) -> Network:
    """Temporal layers that name another backbone of the same shape as theirs (App. H.3)."""
    if found.kind != TEMPORAL:
        raise InputError(f"--onto is for temporal layers, {found.source} is {found.kind!r}")
    file = find_weights(backbone, ("unet",), "--onto").file
    video = found.onto(find(str(file))["unet"])  # compares; reads nothing
    meta = {**found.meta, "backbone": {"name": file.name, "sha256": sha256(file)}}
    if "backbone" in found.meta:
        meta.setdefault("trained_on", found.meta["backbone"])  # a second move keeps the first
    return dataclasses.replace(found, fields=video.fields, meta=meta)


def _write_null_context(folder: Path) -> None:
    encoder: TextNetwork = load(folder / "text_encoder.safetensors")
    context = encoder(jnp.asarray(load_tokenizer(folder / "tokenizer")("")))
    save_arrays(folder / NULL_CONTEXT, {"context": np.asarray(context, np.float32)}, {})
