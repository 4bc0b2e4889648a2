"""Our ids of a text are those of transformers, from either form of the files."""

import json
import re
import shutil

import numpy as np
import pytest
from tokenizers import Tokenizer as Encoder
from tokenizers import models, pre_tokenizers, trainers

from vldm_jax.core.errors import InputError
from vldm_jax.interop.tokenizer import END, START, load_tokenizer

SENTENCES = [
    "a photo of a red car driving on a wet road at night",
    "driving through the rain, it's dark and the road isn't clear",
    "a cat's photo, the cat and the dog don't play",
    "photos of cars 12 34 and roads!",
]
CAPTIONS = [
    "a photo of a cat",
    "A PHOTO of the Dog, drivin' at NIGHT",
    "it's raining, isn't it? they'll've we're I'm he'd",
    "'s 't 'RE 've",
    "in 2024: 1,234.50 and 4k, 12th",
    "  several    spaces\tand\ttabs\nand lines\r\n ",
    "",
    " ",
    "!",
    "wow! really?! yes!!! ...!",
    "«quotes» “and” ‘others’ — dash…",
    "(masterpiece:1.3), [blurry], {a|b} <b>html</b> &amp; http://a.b/c?d=e",
    "naïve café e\u0301 Straße İstanbul ﬁ ½ Ⅷ ٣",
    "日本語のテキスト 한국어 привет हिन्दी العربية",
    "🚗 driving 🌧️ rain 👨‍👩‍👧‍👦 🇩🇪",
    "\u00a0no-break\u2003em\u200bzero width",
    f"{END} inside {START}a {END}{END}",
    "<|ENDOFTEXT|> <|StartOfText|>",
    "a <toy>",
    "A <TOY>, <Toy><toy>x<toy>y, <toy 2> and sks sksing",
    "<toy> <toy 2>,  <toy>  <toy> ",
    "supercalifragilisticexpialidocious" * 4,
    "road " * 200,
]
PADDING = {
    "nothing said": {},
    "Stable Diffusion 1.x": {
        "tokenizer_config.json": {"pad_token": END, "model_max_length": 77},
        "special_tokens_map.json": {"pad_token": END},
    },
    # As published: the files disagree, and the older one is right.
    "Stable Diffusion 2.x": {
        "tokenizer_config.json": {"pad_token": END, "model_max_length": 77},
        "special_tokens_map.json": {
            "bos_token": {"content": START, "normalized": True},
            "pad_token": "!",
        },
    },
    "padding as a table": {
        "tokenizer_config.json": {"pad_token": {"__type": "AddedToken", "content": "!"}},
    },
    "a newer config": {
        "tokenizer_config.json": {
            "pad_token": "!",
            "added_tokens_decoder": {"0": {"content": "!", "special": True}},
        },
        "special_tokens_map.json": {"pad_token": END},
    },
    # A word of its own, as textual inversion saves it.
    "an added word": {
        "added_tokens.json": {"<toy>": 0},
        "special_tokens_map.json": {"pad_token": "!", "unk_token": END},
    },
    "several, out of order": {
        "added_tokens.json": {"sks": 2, "<toy>": 0, "<toy 2>": 1},
        "special_tokens_map.json": {"additional_special_tokens": ["<toy>", "<toy 2>"]},
    },
    "as a decoder": {
        "tokenizer_config.json": {
            "pad_token": END,
            "added_tokens_decoder": {
                1: {"content": "sks", "single_word": True, "normalized": True},
                0: {"content": "<toy>", "lstrip": True, "normalized": False, "special": True},
            },
        },
        "added_tokens.json": {"<toy 2>": 3},  # not looked at beside a decoder
    },
    "by their names alone": {
        "tokenizer_config.json": {
            "mask_token": {"content": "<toy>", "rstrip": True, "__type": "AddedToken"},
            "additional_special_tokens": ["sks"],
        },
    },
    "tokens of the vocabulary told as added": {
        "tokenizer_config.json": {
            "added_tokens_decoder": {
                -2: {"content": START, "normalized": True, "special": True},
                -1: {"content": END, "normalized": False, "special": True},
            },
        },
    },
    "shorter": {"tokenizer_config.json": {"model_max_length": 16}},
    "no limit": {"tokenizer_config.json": {"model_max_length": 10**30}},
}


def write_json(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")


def write_settings(folder, files):
    """Write the files; ids of added tokens are counted from the vocabulary's end here."""
    size = len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    for name, value in files.items():
        if name == "added_tokens.json":
            value = {token: size + number for token, number in value.items()}
        elif "added_tokens_decoder" in value and "0" not in value["added_tokens_decoder"]:
            decoder = value["added_tokens_decoder"].items()
            decoder = {str(size + number): token for number, token in decoder}
            value = {**value, "added_tokens_decoder": decoder}
        write_json(folder / name, value)


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """A folder with a small CLIP vocabulary: bytes, bytes that end a word, merges, specials."""
    encoder = Encoder(models.BPE(end_of_word_suffix="</w>"))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=900, end_of_word_suffix="</w>", show_progress=False)
    words = (word for sentence in SENTENCES for word in sentence.split())
    encoder.train_from_iterator(words, trainer)
    merges = json.loads(encoder.to_str())["model"]["merges"]
    assert len(merges) > 60
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), START, END]
    folder = tmp_path_factory.mktemp("tokenizer")
    write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
    lines = ["#version: 0.2", *map(" ".join, merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(vocabulary, tmp_path):
    return shutil.copytree(vocabulary, tmp_path / "tokenizer")


@pytest.mark.parametrize("files", PADDING.values(), ids=PADDING)
def test_ids_are_those_of_transformers(folder, tmp_path, files):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    write_settings(folder, files)
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    ours = load_tokenizer(folder)
    length = min(theirs.model_max_length, 77)
    expected = theirs(CAPTIONS, padding="max_length", max_length=length, truncation=True)
    ids = ours(CAPTIONS)
    assert ids.shape == (len(CAPTIONS), length) and ids.dtype == np.int32
    for caption, have, want in zip(CAPTIONS, ids.tolist(), expected["input_ids"], strict=True):
        assert have == want, caption
    assert (ours.pad == 0) == (theirs.pad_token == "!") and ours.pad == theirs.pad_token_id
    theirs.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.json").is_file()
    assert not (tmp_path / "saved" / "vocab.json").exists()
    np.testing.assert_array_equal(load_tokenizer(tmp_path / "saved")(CAPTIONS), ids)


def test_every_text_has_one_start_an_end_and_one_length(vocabulary):
    tokenizer = load_tokenizer(vocabulary)
    short, empty, long = tokenizer(["a road", "", "road " * 200])
    end, start = tokenizer.end, tokenizer.start
    assert [len(short), len(empty), len(long)] == [77] * 3
    assert short[0] == start and (short[3:] == end).all() and end not in short[:3]
    assert empty[0] == start and (empty[1:] == end).all()
    assert long[0] == start and long[-1] == end and len(set(long[1:-1])) == 1
    np.testing.assert_array_equal(tokenizer("a road"), short[None])
    np.testing.assert_array_equal(tokenizer(["", "a road"])[::-1], tokenizer(["a road", ""]))
    assert tokenizer([]).shape == (0, 77)


def missing(folder):
    (folder / "merges.txt").unlink()


def damaged_vocabulary(folder):
    (folder / "vocab.json").write_text('{"a": 0, ')


def vocabulary_of_lists(folder):
    (folder / "vocab.json").write_text('{"a": []}')


def merges_of_unknown(folder):
    (folder / "merges.txt").write_text("#version: 0.2\nyy zz\n")


def merges_of_one(folder):
    (folder / "merges.txt").write_text("#version: 0.2\na\n")


def no_end(folder):
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    del table[END]
    write_json(folder / "vocab.json", table)


def other_padding(folder):
    write_json(folder / "special_tokens_map.json", {"pad_token": "[PAD]"})


def padding_by_number(folder):
    write_json(folder / "special_tokens_map.json", {"pad_token": {"content": 3}})


def damaged_settings(folder):
    (folder / "tokenizer_config.json").write_text("pad_token = !")


def settings_of_lists(folder):
    (folder / "special_tokens_map.json").write_text('[["pad_token", "!"]]')


def settings_in_binary(folder):
    (folder / "special_tokens_map.json").write_bytes(b"\xff\xfe\x00")


def gap(folder):
    write_json(folder / "added_tokens.json", {"<toy>": 5000})


def number_by_name(folder):
    write_json(folder / "added_tokens.json", {"<toy>": "5"})


def decoder_by_names(folder):
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": {"<toy>": {}}})


def decoder_of_nothing(folder):
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": {"7": {"content": None}}})


def names_of_nothing(folder):
    write_json(folder / "tokenizer_config.json", {"additional_special_tokens": [["<toy>"]]})


def deep_settings(folder):
    (folder / "tokenizer_config.json").write_text('{"pad_token":' * 90000 + "1" + "}" * 90000)


def pointer(folder):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:5a\nsize 1059962\n"
    (folder / "vocab.json").write_text(text)


def endless(folder):
    with (folder / "merges.txt").open("ab") as file:
        file.truncate(33 << 20)


def damaged_whole(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE"')


def empty_whole(folder):
    (folder / "tokenizer.json").write_text("")


def whole_of_another_model(folder):
    write_json(
        folder / "tokenizer.json",
        {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}},
    )


BAD = [
    (missing, r"{folder} has no tokenizer\.json, and no vocab\.json with merges\.txt"),
    (damaged_vocabulary, r"{folder}/vocab\.json and merges\.txt make no tokenizer \(.+\)"),
    (vocabulary_of_lists, r"{folder}/vocab\.json and merges\.txt make no tokenizer \(.+\)"),
    (merges_of_unknown, r"{folder}/vocab\.json and merges\.txt make no tokenizer \(.*yy.*\)"),
    (merges_of_one, r"{folder}/vocab\.json and merges\.txt make no tokenizer \(.+\)"),
    (no_end, r"{folder}: the tokenizer's vocabulary lacks '<\|endoftext\|>'"),
    (other_padding, r"{folder}: the tokenizer's vocabulary lacks '\[PAD\]'"),
    (padding_by_number, r"{folder}: pad_token = .*3.* is no token"),
    (damaged_settings, r"{folder}/tokenizer_config\.json: not a table of settings \(not JSON.*"),
    (
        settings_of_lists,
        r"{folder}/special_tokens_map\.json: not a table of settings \(it must be.*",
    ),
    (
        settings_in_binary,
        r"{folder}/special_tokens_map\.json: not a table of settings \(not JSON.*",
    ),
    (gap, r"{folder}: the added token '<toy>' has the id 5000 in its files and \d+ in the .*"),
    (number_by_name, r"{folder}/added_tokens\.json: '<toy>' = '5' is no id of a token"),
    (decoder_by_names, r"{folder}: added_tokens_decoder is no table of tokens by their ids"),
    (decoder_of_nothing, r"{folder}: .*'content': None.* is no token of a tokenizer"),
    (names_of_nothing, r"{folder}: .*<toy>.* is no token of a tokenizer"),
    (deep_settings, r"{folder}/tokenizer_config\.json: not a table .*nested too deeply.*"),
    (pointer, r"{folder}/vocab\.json is a Git LFS pointer, .* git lfs pull .*"),
    (endless, r"{folder}/merges\.txt is larger than 32 MiB.*"),
    (damaged_whole, r"{folder}/tokenizer\.json is no tokenizer file \(.+\)"),
    (empty_whole, r"{folder}/tokenizer\.json is no tokenizer file \(.+\)"),
    (whole_of_another_model, r"{folder}: the tokenizer's vocabulary lacks '<\|startoftext\|>'"),
]


@pytest.mark.parametrize(("damage", "message"), BAD, ids=[damage.__name__ for damage, _ in BAD])
def test_bad_files_are_named_in_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError) as caught:
        load_tokenizer(folder)
    text = str(caught.value)
    assert re.fullmatch(message.format(folder=re.escape(str(folder))), text), text
    assert "\n" not in text, text
