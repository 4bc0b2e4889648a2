"""Captions of videos, from a file that somebody else wrote: one is drawn where there are several.

    name.json     {"video": "caption"} or {"video": ["caption", ...]}, or MSR-VTT's own file
    name.jsonl    {"video": ..., "caption": ...} a line
    name.csv      with a header that names the columns video and caption

A video is called by its file's name below its folder, with or without the suffix; the column may be
called video_id, too, as in MSR-VTT. Which caption is drawn for a video depends on its name, its
captions and the seed alone, not on which other videos there are.
"""

import csv
import dataclasses
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import parse_json, read_json

WHAT = "captions"
REMEDY = "write a JSON, JSONL or CSV of video and caption"
MAX_BYTES = 512 << 20
COLUMNS = ("video", "video_id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Captions:
    """Captions by the names of videos.

    Attributes:
        table: name -> its captions, at least one.
    """

    table: Mapping[str, tuple[str, ...]]

    def of(self, name: str, seed: int) -> str | None:
        """Return the caption of a video, drawn from its captions; None if it has none.

        Args:
            name: of the video's file below its folder.
            seed: of the draw.
        """
        stem = str(PurePosixPath(name).with_suffix(""))
        key = name if name in self.table else stem
        if key not in self.table:
            return None
        captions = self.table[key]
        random = np.random.default_rng([seed, zlib.crc32(stem.encode())])
        return captions[int(random.integers(len(captions)))]

    @property
    def sha256(self) -> str:
        """The SHA-256 of all captions with their names."""
        text = json.dumps({name: list(found) for name, found in self.table.items()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_captions(path: Path) -> Captions:
    """Return the captions in a file.

    Raises:
        InputError: naming file and entry, if it is missing, damaged or no table of captions.
    """
    if path.suffix not in READERS:
        raise InputError(f"{path}: captions of an unknown form {path.suffix!r}: {REMEDY}")
    table: dict[str, tuple[str, ...]] = {}
    for where, name, caption in READERS[path.suffix](path):
        if not isinstance(name, str) or not isinstance(caption, str) or not caption.strip():
            raise InputError(f"{path}: {where} has no caption of a video: {REMEDY}")
        table[name] = (*table.get(name, ()), caption)
    if not table:
        raise InputError(f"{path} holds no captions: {REMEDY}")
    return Captions(table=table)


Found = Iterator[tuple[str, Any, Any]]


def _json(path: Path) -> Found:
    content = read_json(path, WHAT, remedy=REMEDY, max_bytes=MAX_BYTES, unique_keys=True)
    if isinstance(content.get("sentences"), list):  # MSR-VTT's
        yield from _rows(enumerate(content["sentences"], 1), "sentence")
        return
    for name, captions in content.items():
        for caption in captions if isinstance(captions, list) else [captions]:
            yield repr(name), name, caption


def _jsonl(path: Path) -> Found:
    # Not `splitlines`, which also cuts at the line and paragraph separators that captions may have.
    lines = ((n, line) for n, line in enumerate(_text(path).split("\n"), 1) if line.strip())
    rows = ((n, parse_json(line, f"{path}: line {n}", WHAT, remedy=REMEDY)) for n, line in lines)
    return _rows(rows, "line")


def _csv(path: Path) -> Found:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        if not {"caption"} <= set(reader.fieldnames or ()):
            raise InputError(f"{path}: its first line names no column caption: {REMEDY}")
        yield from _rows(((reader.line_num, row) for row in reader), "line")
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num} is no CSV ({error}): {REMEDY}") from error


READERS = {".json": _json, ".jsonl": _jsonl, ".csv": _csv}


def _rows(rows: Iterable[tuple[int, Any]], what: str) -> Found:
    for number, row in rows:
        fields = row if isinstance(row, dict) else {}
        names = [fields[key] for key in COLUMNS if key in fields]
        yield f"{what} {number}", names[0] if names else None, fields.get("caption")


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file, expected captions: {REMEDY}")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB: {REMEDY}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): {REMEDY}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason}): {REMEDY}") from error
