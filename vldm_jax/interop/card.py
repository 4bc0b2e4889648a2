"""The model card: README.md beside exported weights, with what is known of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import vldm_jax
from vldm_jax.core import paths
from vldm_jax.interop.network import Network

_TITLES = {
    "unet": "Latent diffusion U-Net",
    "video_unet": "Video latent diffusion U-Net",
    "autoencoder": "KL autoencoder",
    "text_encoder": "CLIP text encoder",
    "temporal": "Temporal layers",
}
_LIBRARIES = {"CLIPTextModel": "transformers"}


def model_card(
    network: Network, *, class_name: str | None = None, notes: Sequence[str] = ()
) -> str:
    """Return the card's text.

    Args:
        network: what is exported.
        class_name: public class that loads the folder; None for a weights file of this project.
        notes: what a user must know of the conversion, a sentence each.
    """
    library = "vldm_jax" if class_name is None else _LIBRARIES.get(class_name, "diffusers")
    leaves = paths.flatten(network.params).values()
    lines = [
        "---",
        f"library_name: {library}",
        "tags: [video-generation, latent-diffusion]",
        "---",
        "",
        f"# {_TITLES[network.kind]}",
        "",
        f"{paths.count(leaves):,} parameters, exported by vldm_jax {vldm_jax.__version__}.",
        "",
        *_usage(network, library, class_name),
        "",
        *(line for note in notes for line in (f"Note: {note}.", "")),
        *_section("Origin and training", _known(network.meta)),
        *_section("Config", network.config),
    ]
    return "\n".join(lines) + "\n"


def _usage(network: Network, library: str, class_name: str | None) -> list[str]:
    if class_name is not None:
        return [
            f"    from {library} import {class_name}",
            f'    model = {class_name}.from_pretrained("PATH OF THIS FOLDER")',
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
