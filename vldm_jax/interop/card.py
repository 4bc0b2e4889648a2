"""The model card: README.md beside exported weights, with what is known of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import vldm_jax
from vldm_jax.core import paths
from vldm_jax.interop.layouts.formats import Format
from vldm_jax.models.network import Network

_TITLES = {
    "unet": "Latent diffusion U-Net",
    "video_unet": "Video latent diffusion U-Net",
    "autoencoder": "KL autoencoder",
    "text_encoder": "CLIP text encoder",
    "temporal": "Temporal layers",
    "detector": "Detector of boxes and attributes",
}


def model_card(network: Network, form: Format | None = None, notes: Sequence[str] = ()) -> str:
    """Return the card's text.

    Args:
        network: what is exported.
        form: the public class that loads the folder; None for a weights file of this project.
        notes: what a user must know of the conversion, a sentence each.
    """
    library = "vldm_jax" if form is None else form.library
    leaves = paths.flatten(network.params).values()
    lines = [
        "---",
        f"library_name: {library}",
        "tags: [video-generation, latent-diffusion]",
        "---",
        "",
        f"# {_TITLES.get(network.kind, f'Network of kind {network.kind}')}",
        "",
        f"{paths.count(leaves):,} parameters, exported by vldm_jax {vldm_jax.__version__}.",
        "",
        *_usage(network, form),
        "",
        *(line for note in notes for line in (f"Note: {note}.", "")),
        *_section("Origin and training", _known(network.meta)),
        *_section("Config", network.fields),
    ]
    return "\n".join(lines) + "\n"


def _usage(network: Network, form: Format | None) -> list[str]:
    if form is not None:
        return [
            f"    from {form.library} import {form.class_name}",
            f'    model = {form.class_name}.from_pretrained("PATH OF THIS FOLDER")',
        ]
    return [
        "    from vldm_jax.interop import load",
        f'    network = load("{network.kind}.safetensors")',
    ]


def _known(meta: Mapping[str, Any]) -> dict[str, Any]:
    if not meta:
        return {"origin": "not recorded"}
    return dict(meta)


def _section(title: str, values: Mapping[str, Any]) -> list[str]:
    rows = [f"| {name} | `{text}` |" for name, text in _rows(values)]
    return [f"## {title}", "", "| | |", "|---|---|", *rows, ""]


def _rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value as text), nested tables row by row."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{name}.")
        else:
            text = f"{value:.5g}" if isinstance(value, float) else json.dumps(value)
            yield f"{prefix}{name}", text
