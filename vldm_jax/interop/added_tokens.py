"""Tokens that a tokenizer was given beyond its vocabulary, with the ids of transformers.

    added_tokens_decoder of tokenizer_config.json     {id: {content, special, lstrip, ...}}
    added_tokens.json                                 {content: id}, where there is no such entry
    bos_token, ..., additional_special_tokens         names alone, in either settings file

Textual inversion and custom diffusion add a word so: the text encoder has one embedding more.
transformers numbers them in this order behind the vocabulary, whatever id is written beside them,
so an id that would be another one is refused.

Source: transformers 5.23, tokenization_utils_base.py and tokenization_utils_tokenizers.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from vldm_jax.core.errors import InputError
from vldm_jax.interop.settings import read_config

FILE = "added_tokens.json"
_NAMED = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_OPTIONS = {"lstrip", "rstrip", "single_word", "normalized", "special"}


def add_tokens(
    encoder: tokenizers.Tokenizer, folder: Path, settings: Mapping[str, Any], pad: str
) -> None:
    """Give a tokenizer the tokens that lie beside its vocabulary.

    Args:
        encoder: changed.
        folder: with added_tokens.json, perhaps.
        settings: of tokenizer_config.json and special_tokens_map.json.
        pad: the token of the padding; its name alone adds none, for no text encoder knows it.

    Raises:
        InputError: if an entry is no token, or its id is not the one that it gets.
    """
    numbered = _numbered(folder, settings)
    told = {token.content for token in numbered.values()}
    known = {token.content for token in encoder.get_added_tokens_decoder().values()}
    for token in (*(numbered[number] for number in sorted(numbered)), *_named(folder, settings)):
        new = encoder.token_to_id(token.content) is None
        if token.content not in known and not (new and token.content == pad not in told):
            encoder.add_tokens([token])
            known.add(token.content)
    for number, token in numbered.items():
        if (have := encoder.token_to_id(token.content)) != number:
            raise InputError(
                f"{folder}: the added token {token.content!r} has the id {number} in its files and "
                f"{have} in the tokenizer: save the tokenizer again with transformers"
            )


def _numbered(folder: Path, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Return the tokens whose ids are written beside them."""
    decoder, file = settings.get("added_tokens_decoder"), folder / FILE
    if decoder is not None:
        if not isinstance(decoder, dict) or not all(key.isdecimal() for key in decoder):
            raise InputError(f"{folder}: added_tokens_decoder is no table of tokens by their ids")
        return {int(key[:18]): _token(folder, entry, {}) for key, entry in decoder.items()}
    if not file.is_file():
        return {}
    # Not the additional ones, which transformers 5 takes for words like any other here.
    others = {name: v for name, v in settings.items() if name != "additional_special_tokens"}
    special = {token.content for token in _named(folder, others)}
    table = read_config(file)
    for content, number in table.items():
        if type(number) is not int or number < 0 or not content:
            raise InputError(f"{file}: {content!r} = {number!r} is no id of a token")
    return {
        number: AddedToken(content, normalized=content not in special, special=content in special)
        for content, number in table.items()
    }


def _named(folder: Path, settings: Mapping[str, Any]) -> list[AddedToken]:
    """Return the tokens that only their names are known of; those are special ones."""
    more = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    if not isinstance(more, dict | list):
        raise InputError(f"{folder}: additional_special_tokens = {more!r} is no list of tokens")
    named = [settings.get(f"{name}_token") for name in _NAMED]
    entries = [*named, *(more.values() if isinstance(more, dict) else more)]
    return [_token(folder, entry, {"special": True}) for entry in entries if entry]


def _token(folder: Path, entry: Any, more: Mapping[str, bool]) -> AddedToken:
    if isinstance(entry, str):
        entry = {"content": entry}
    content = entry.get("content") if isinstance(entry, dict) else None
    options = {k: v for k, v in entry.items() if k in _OPTIONS} if content else {}
    if not isinstance(content, str) or not all(isinstance(v, bool) for v in options.values()):
        raise InputError(f"{folder}: {str(entry)[:80]!r} is no token of a tokenizer")
    return AddedToken(content, **(options | more))
