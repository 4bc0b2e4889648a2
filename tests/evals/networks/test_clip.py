"""CLIP against transformers' CLIPModel, with random weights, from the files that it writes."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

torch = pytest.importorskip("torch", reason="compares with torch")
transformers = pytest.importorskip("transformers", reason="compares with transformers")
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.clip import clip_similarity, load_clip
from vldm_jax.evals.networks.clip_image import crop_for_clip, normalise_for_clip
from vldm_jax.interop.tokenizer import END, START

CAPTIONS = ["a red car", "driving at night in the rain", ""]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "th", "the</w>", START, END]


def write_tokenizer(folder):
    ids = {token: number for number, token in enumerate(VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small CLIPModel's folder; its heads are not 64 wide, so its config counts."""
    out = tmp_path_factory.mktemp("clip")
    size = len(VOCABULARY)
    text = {
        "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "vocab_size": size,
        "num_attention_heads": 4, "bos_token_id": size - 2, "eos_token_id": size - 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 3, "image_size": 64,
        "num_attention_heads": 3, "patch_size": 16,
    }  # fmt: skip
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    torch.manual_seed(0)
    model = transformers.CLIPModel(config)
    for parameter in model.parameters():  # as drawn, they are too small to tell anything
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(out)
    write_tokenizer(out)
    return out


@pytest.fixture(scope="module")
def clip(folder):
    return load_clip(folder)


@pytest.fixture(scope="module")
def reference(folder):
    return transformers.CLIPModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def videos():
    """Frames of coloured squares: noise looks alike to the image tower."""
    squares = np.random.default_rng(0).integers(0, 256, (3, 2, 5, 9, 3), np.uint8)
    return squares.repeat(10, axis=2).repeat(10, axis=3)


def theirs(videos):
    """Pixels of frames by transformers' own preprocessing."""
    process = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=64)
    frames = [Image.fromarray(frame) for frame in videos.reshape(-1, *videos.shape[2:])]
    return process(frames, return_tensors="pt")["pixel_values"]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def expected_texts(reference, clip):
    tokens = torch.from_numpy(clip.tokenizer(CAPTIONS)).long()
    with torch.no_grad():
        return unit(reference.get_text_features(tokens).pooler_output.numpy())


def expected_images(reference, videos):
    with torch.no_grad():
        return unit(reference.get_image_features(theirs(videos)).pooler_output.numpy())


def test_vectors_of_texts(clip, reference):
    np.testing.assert_allclose(
        clip.embed_texts(CAPTIONS), expected_texts(reference, clip), atol=1e-5
    )


def test_vectors_of_frames(clip, reference, videos):
    frames = videos.reshape(-1, *videos.shape[2:])
    expected = expected_images(reference, videos)
    np.testing.assert_allclose(clip.embed_images(frames), expected, atol=1e-5)
    np.testing.assert_allclose(clip.embed_images(frames, size=4), expected, atol=1e-5)


def test_cosines_are_those_of_each_clips_caption(clip, reference, videos):
    texts = expected_texts(reference, clip)
    images = expected_images(reference, videos).reshape(3, 2, -1)
    cosines = clip_similarity(clip, videos, CAPTIONS)
    expected = np.stack([images[i] @ texts[i] for i in range(3)])
    np.testing.assert_allclose(cosines, expected, atol=1e-5)
    assert np.ptp(expected) > 0.05


@pytest.mark.parametrize("size", [(50, 90), (300, 231), (64, 64), (65, 64)])
def test_pixels_are_those_of_transformers(size):
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    ours = normalise_for_clip(crop_for_clip(frames, 64)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(ours, theirs(frames[None]).numpy(), atol=1e-6)


def test_the_file_alone_is_the_folder(clip, folder):
    assert load_clip(folder / "model.safetensors").image == clip.image
    assert clip.image.heads == 3 and clip.text.heads == 4


def test_a_file_without_config_is_openais(folder, tmp_path):
    for name in ("model.safetensors", "vocab.json", "merges.txt"):
        shutil.copy(folder / name, tmp_path)
    clip = load_clip(tmp_path)
    assert (clip.image.heads, clip.image.activation) == (1, "quick_gelu")


WRONG = {
    "lacks 'visual_projection.weight'": lambda t: t.pop("visual_projection.weight"),
    "lacks 'vision_model.post_layernorm.bias'": lambda t: t.pop("vision_model.post_layernorm.bias"),
    "lacks 'vision_model.embeddings.patch_embedding.weight'": lambda t: [
        t.pop(name) for name in list(t) if name.startswith("vision_model")
    ],
    "'vision_model.embeddings.class_embedding' has the shape": lambda t: t.update(
        {"vision_model.embeddings.class_embedding": np.zeros(47, np.float32)}
    ),
    "holds 'vision_model.more', which": lambda t: t.update(
        {"vision_model.more": np.zeros(1, np.float32)}
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_another_file_is_refused(problem, folder, tmp_path):
    for name in ("config.json", "vocab.json", "merges.txt"):
        shutil.copy(folder / name, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    WRONG[problem](tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=problem) as caught:
        load_clip(tmp_path)
    assert "give the folder of openai/clip-vit-base-patch32" in str(caught.value)


def test_what_lies_beside_is_checked(folder, tmp_path):
    with pytest.raises(InputError, match="has no model.safetensors"):
        load_clip(tmp_path)
    shutil.copy(folder / "model.safetensors", tmp_path)
    with pytest.raises(InputError, match="no tokenizer.json, and no vocab.json"):
        load_clip(tmp_path)
    write_tokenizer(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["num_attention_heads"] = 5
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config.json: .*5 attention heads do not divide"):
        load_clip(tmp_path)
    config["vision_config"] = "ViT-B/32"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="config.json describes no network"):
        load_clip(tmp_path)


def test_captions_and_clips_are_as_many(clip, videos):
    with pytest.raises(InputError, match="2 captions for 3 clips"):
        clip_similarity(clip, videos, CAPTIONS[:2])
