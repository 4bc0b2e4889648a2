"""A random CLIP of a few thousand weights in a folder as transformers writes them."""

import json

import numpy as np
from safetensors.numpy import save_file

WIDTH, HIDDEN, SHARED, PATCH, SIDE = 64, 32, 16, 16, 32
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
VOCABULARY += ["<|startoftext|>", "<|endoftext|>"]


def write_clip(folder, *, image=True, seed=0):
    """Write the folder; without `image`, as of a text encoder alone."""
    shapes = {
        "text_model.embeddings.token_embedding.weight": (len(VOCABULARY), WIDTH),
        "text_model.embeddings.position_embedding.weight": (77, WIDTH),
        **_layer("text_model."),
        **_norm("text_model.final_layer_norm"),
        "text_projection.weight": (SHARED, WIDTH),
    }
    if image:
        shapes |= {
            "vision_model.embeddings.class_embedding": (WIDTH,),
            "vision_model.embeddings.patch_embedding.weight": (WIDTH, 3, PATCH, PATCH),
            "vision_model.embeddings.position_embedding.weight": ((SIDE // PATCH) ** 2 + 1, WIDTH),
            **_layer("vision_model."),
            **_norm("vision_model.pre_layrnorm"),
            **_norm("vision_model.post_layernorm"),
            "visual_projection.weight": (SHARED, WIDTH),
        }
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    tensors = {name: np.float32(0.3 * random.normal(size=shape)) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    ids = {token: number for number, token in enumerate(VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def _norm(name):
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def _layer(tower):
    layer = f"{tower}encoder.layers.0."
    shapes = {**_norm(f"{layer}layer_norm1"), **_norm(f"{layer}layer_norm2")}
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        shapes[f"{layer}self_attn.{name}.weight"] = (WIDTH, WIDTH)
        shapes[f"{layer}self_attn.{name}.bias"] = (WIDTH,)
    for name, (out, into) in {"fc1": (HIDDEN, WIDTH), "fc2": (WIDTH, HIDDEN)}.items():
        shapes[f"{layer}mlp.{name}.weight"] = (out, into)
        shapes[f"{layer}mlp.{name}.bias"] = (out,)
    return shapes
