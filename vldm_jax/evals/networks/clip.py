"""CLIP: frames and captions in one space, for CLIPSIM.

    cosine = <u, v> / (|u| |v|),   u = P_image image(frame),   v = P_text text(caption)

The text tower is the one that conditions diffusion models, pooled where its end token is and
projected. Both towers come from one file, transformers' CLIPModel; CLIPSIM is defined with
openai/clip-vit-base-patch32.

Source: Radford et al., arXiv:2103.00020; Wu et al., GODIVA, arXiv:2104.14806 (CLIPSIM).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.clip_image import (
    ImageEncoder,
    crop_for_clip,
    image_fields,
    normalise_for_clip,
)
from vldm_jax.evals.networks.run import compiled, in_chunks
from vldm_jax.evals.networks.state_dicts import Layout, our_tree, read_tensors, torch_shapes
from vldm_jax.interop.files.archives import open_archive
from vldm_jax.interop.layouts import text
from vldm_jax.interop.settings import read_config, told_by
from vldm_jax.interop.tokenizer import Tokenizer, load_tokenizer
from vldm_jax.models.text import TextEncoder
from vldm_jax.typing import Float, PyTree, UInt8

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
LAYOUT = Layout(
    name="CLIP with both towers",
    file="the folder of openai/clip-vit-base-patch32, or its model.safetensors beside its "
    "config.json and tokenizer files",
    ignored=r"logit_scale|.*\.position_ids",
)
# What tells the networks' fields, with the number of its axes.
_TELLING = {
    "text_model.embeddings.token_embedding.weight": 2,
    "text_model.embeddings.position_embedding.weight": 2,
    "text_model.encoder.layers.0.mlp.fc1.weight": 2,
    "vision_model.embeddings.patch_embedding.weight": 4,
    "vision_model.embeddings.position_embedding.weight": 2,
    "vision_model.encoder.layers.0.mlp.fc1.weight": 2,
    "text_projection.weight": 2,
    "visual_projection.weight": 2,
}
# Our attention's names -> transformers'.
_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out_0": "out_proj"}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """Both towers with their parameters.

    Attributes:
        text: the text transformer.
        image: the image transformer.
        params: of both, and the projections: text_model, vision_model, text_projection,
            visual_projection.
        tokenizer: text -> token ids.
    """

    text: TextEncoder
    image: ImageEncoder
    params: PyTree
    tokenizer: Tokenizer

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "b d"]:
        """Return the vector of each text, of length one; what is too long is cut.

        Raises:
            InputError: if there is none, or the tokenizer has more tokens than the tower.
        """
        if not texts:
            raise InputError("no captions to embed: give at least one")
        tokens = self.tokenizer(texts)
        if tokens.max() >= self.text.vocab_size:
            raise InputError(
                f"the text tower has embeddings for {self.text.vocab_size} tokens, its tokenizer "
                f"gave {tokens.max()}: take the tokenizer that belongs to it"
            )
        run = compiled(self.text)
        hidden = in_chunks(lambda part: run(self.params["text_model"], part), tokens, size=64)
        end = np.argmax(tokens == self.tokenizer.end, axis=1)
        pooled = hidden[np.arange(len(tokens)), end]
        return _unit(pooled @ self.params["text_projection"]["kernel"])

    def is_cut(self, text: str) -> bool:
        """Return whether the tokenizer cuts a text, so that its end is not seen."""
        return bool(self.tokenizer.is_cut([text])[0])

    def embed_images(
        self, frames: UInt8[np.ndarray, "n h w 3"], size: int = 64
    ) -> Float[np.ndarray, "n d"]:
        """Return the vector of each frame, of length one.

        Args:
            frames: of any size.
            size: frames at a time, which bounds memory.

        Raises:
            InputError: if there is none.
        """
        run = compiled(self.image)

        def embed(part):
            x = normalise_for_clip(crop_for_clip(part, self.image.size))
            return run(self.params["vision_model"], x)

        pooled = in_chunks(embed, frames, size=size)
        return _unit(pooled @ self.params["visual_projection"]["kernel"])


def clip_similarity(
    clip: Clip, videos: UInt8[np.ndarray, "b t h w 3"], captions: Sequence[str], size: int = 64
) -> Float[np.ndarray, "b t"]:
    """Return the cosine of every frame with its clip's caption, in [-1, 1].

    Args:
        clip: from `load_clip`.
        videos: clips of any size.
        captions: one a clip.
        size: frames at a time.

    Raises:
        InputError: if there is not one caption a clip, or there are no frames.
    """
    if len(captions) != len(videos):
        raise InputError(f"{len(captions)} captions for {len(videos)} clips: give one a clip")
    texts = clip.embed_texts(captions)
    images = clip.embed_images(videos.reshape(-1, *videos.shape[2:]), size)
    return np.einsum("btd,bd->bt", images.reshape(*videos.shape[:2], -1), texts)


def _unit(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def load_clip(path: str | Path) -> Clip:
    """Return CLIP from a transformers folder, or its model.safetensors with the rest beside it.

    Args:
        path: folder or file; config.json, where there is one, tells heads and activations, and
            tokenizer.json, or vocab.json with merges.txt, the tokens.

    Raises:
        InputError: if a file is missing, damaged or of another network, naming the first tensor
            that does not fit.
    """
    file = _weights(resolve(str(path)))
    tokenizer = load_tokenizer(file.parent)
    archive = open_archive(file).tensors
    for name, axes in _TELLING.items():
        if name not in archive or len(archive[name].shape) != axes:
            raise LAYOUT.refuse(f"{file} lacks {name!r}")
    settings = file.parent / "config.json"
    config = read_config(settings) if settings.is_file() else {}
    with told_by(str(settings), settings=bool(config)):
        text_tower, image_tower = _towers(archive, config)
        shapes = _shapes(text_tower, image_tower, archive)
    wanted = {_theirs(name): shape for name, shape in torch_shapes(shapes).items()}
    LAYOUT.check(file, archive, wanted)
    tensors = read_tensors(file)
    params = our_tree(shapes, {name: tensors[_theirs(name)] for name in torch_shapes(shapes)})
    return Clip(text=text_tower, image=image_tower, params=params, tokenizer=tokenizer)


def _weights(path: Path) -> Path:
    if path.is_file():
        return path
    for name in WEIGHTS:
        if (path / name).is_file():
            return path / name
    raise LAYOUT.refuse(f"{path} has no {WEIGHTS[0]}")


def _towers(
    archive: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[TextEncoder, ImageEncoder]:
    """Return the modules that tensors and config describe."""
    parts = {
        tower: {
            name.removeprefix(tower): tensor
            for name, tensor in archive.items()
            if name.startswith(tower)
        }
        for tower in ("text_model.", "vision_model.")
    }
    text_fields = text.fields(parts["text_model."], config or None)
    shapes = {name: tensor.shape for name, tensor in parts["vision_model."].items()}
    vision = config.get("vision_config", {})
    return TextEncoder(**text_fields), ImageEncoder(**image_fields(shapes, vision))


def _shapes(text_tower: TextEncoder, image: ImageEncoder, archive: Mapping[str, Any]) -> PyTree:
    """Return the shapes of our tree."""
    key = jax.random.key(0)
    tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    pixels = jax.ShapeDtypeStruct((1, image.size, image.size, 3), jnp.float32)
    shared = archive["text_projection.weight"].shape[0]

    def projection(width):
        return {"kernel": jax.ShapeDtypeStruct((width, shared), jnp.float32)}

    return {
        "text_model": jax.eval_shape(text_tower.init, key, tokens)["params"],
        "vision_model": jax.eval_shape(image.init, key, pixels)["params"],
        "text_projection": projection(text_tower.width),
        "visual_projection": projection(image.width),
    }


def _theirs(name: str) -> str:
    """Return transformers' name: layers_0.self_attn.to_q -> layers.0.self_attn.q_proj."""
    parts = (_ATTENTION.get(part, part) for part in name.split("."))
    return ".".join(parts).replace(".layers_", ".layers.")
