"""CLIP's tokenizer: text -> token ids, through the `tokenizers` library.

    <start> tokens... <end> pad pad ...        77 ids

Read from tokenizer.json, or from vocab.json and merges.txt. What the padding is differs: Stable
Diffusion 1.x pads with the end token, 2.x with "!" (id 0); the files beside say which. There, as in
transformers, an exclamation mark in the text is the padding's id, too, not the "!</w>" of a word.
Tokens beyond the vocabulary are `added_tokens`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import MAX_BYTES
from vldm_jax.core.pointers import refuse_pointer
from vldm_jax.interop.added_tokens import FILE as ADDED
from vldm_jax.interop.added_tokens import add_tokens
from vldm_jax.interop.files.tensors import reason
from vldm_jax.interop.settings import read_config
from vldm_jax.typing import Int

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    ADDED,
)
# Contractions, words, single digits, runs of anything else; as CLIP was trained.
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to token ids of one length.

    Attributes:
        encoder: of the `tokenizers` library, without padding or truncation.
        start: id of the start token.
        end: id of the end token.
        pad: id that fills up.
        length: ids a text.
    """

    encoder: tokenizers.Tokenizer
    start: int
    end: int
    pad: int
    length: int = LENGTH

    def __call__(self, texts: str | Sequence[str]) -> Int[np.ndarray, "b n"]:
        """Return the ids of one text or several; what is too long is cut before the end token."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = [self._row(encoding.ids) for encoding in self._encode(texts)]
        return np.asarray(rows, np.int32).reshape(len(texts), self.length)

    def is_cut(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it has more tokens than fit."""
        return [len(encoding.ids) > self.length - 2 for encoding in self._encode(list(texts))]

    def _encode(self, texts: list[str]) -> list[Any]:
        return self.encoder.encode_batch(texts, add_special_tokens=False)

    def _row(self, ids: list[int]) -> list[int]:
        ids = [self.start, *ids[: self.length - 2], self.end]
        return ids + [self.pad] * (self.length - len(ids))


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Return the tokenizer in a folder.

    Args:
        folder: with tokenizer.json, or vocab.json and merges.txt; tokenizer_config.json and
            special_tokens_map.json, where they are, say the padding and the length.

    Raises:
        InputError: if a file is missing or damaged.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").is_file():
        encoder = _from_file(folder / "tokenizer.json")
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        encoder = _from_vocabulary(folder / "vocab.json", folder / "merges.txt")
    else:
        raise InputError(f"{folder} has no tokenizer.json, and no vocab.json with merges.txt")
    settings = _settings(folder)
    pad = _padding(folder, settings)
    add_tokens(encoder, folder, settings, pad)
    ids = {token: encoder.token_to_id(token) for token in (START, END, pad)}
    for token, number in ids.items():
        if number is None:
            raise InputError(f"{folder}: the tokenizer's vocabulary lacks {token!r}")
    # Inside a text, too, they are one token.
    known = {token.content for token in encoder.get_added_tokens_decoder().values()}
    new = [AddedToken(token, normalized=False, special=True) for token in ids]
    encoder.add_tokens([token for token in new if token.content not in known])
    length = settings.get("model_max_length", LENGTH)
    length = length if isinstance(length, int) and 2 <= length <= 1024 else LENGTH
    return Tokenizer(encoder, ids[START], ids[END], ids[pad], length)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files that `load_tokenizer` reads into a folder, which is made."""
    target.mkdir()
    for name in FILES:
        if (source / name).is_file():
            (target / name).write_bytes((source / name).read_bytes())


def _from_file(path: Path) -> tokenizers.Tokenizer:
    _check_size(path)
    try:
        encoder = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise InputError(f"{path} is no tokenizer file ({reason(error)})") from error
    encoder.no_padding()
    encoder.no_truncation()
    return encoder


def _check_size(path: Path) -> None:
    refuse_pointer(path)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB, so no tokenizer of CLIP's")


def _from_vocabulary(vocab: Path, merges: Path) -> tokenizers.Tokenizer:
    _check_size(vocab)
    _check_size(merges)
    try:
        table, pairs = models.BPE.read_file(str(vocab), str(merges))
        model = models.BPE(
            table, pairs, unk_token=END, end_of_word_suffix="</w>", fuse_unk=False
        )  # fmt: skip
    except Exception as error:  # the library raises Exception itself
        raise InputError(
            f"{vocab} and {merges.name} make no tokenizer ({reason(error)})"
        ) from error
    encoder = tokenizers.Tokenizer(model)
    encoder.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    encoder.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    encoder.decoder = decoders.ByteLevel()
    encoder.post_processor = processors.ByteLevel(trim_offsets=False)
    return encoder


def _settings(folder: Path) -> dict[str, Any]:
    """Return what the files beside say; transformers lets the older of the two win, so do we."""
    paths = (folder / "tokenizer_config.json", folder / "special_tokens_map.json")
    config, tokens = (read_config(path) if path.is_file() else {} for path in paths)
    return config if "added_tokens_decoder" in config else config | tokens


def _padding(folder: Path, settings: dict[str, Any]) -> str:
    pad = settings.get("pad_token") or END
    text = pad.get("content") if isinstance(pad, dict) else pad
    if not isinstance(text, str):
        raise InputError(f"{folder}: pad_token = {pad!r} is no token")
    return text
