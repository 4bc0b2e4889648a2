"""Weights files of this project, found by the kind that they must hold."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from vldm_jax.checkpoint.weights import WEIGHTS, load_weights, read_meta
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.models import table
from vldm_jax.models.network import CLASSES, Network


def find_weights(path: str | None, kind: str, flag: str) -> tuple[Path, dict[str, Any]]:
    """Return a weights file of one kind and what it says of itself; its arrays are not read.

    Args:
        path: file, or "asset:NAME"; a stage's workdir means its exported file.
        kind: what it must hold.
        flag: what the user named it with, for messages: "--config.model.backbone".

    Raises:
        InputError: if it is not given, missing, unreadable or of another kind.
    """
    if not path:
        raise InputError(f"{flag[2:]} is not set: give {kind} weights, {flag}=FILE")
    file = resolve(path)
    if file.is_dir():
        if not (file / WEIGHTS).is_file():
            raise InputError(
                f"{flag}: the folder {path} holds no {WEIGHTS}; a public checkpoint must come in "
                "first, with vldm convert import"
            )
        file = file / WEIGHTS
    meta = read_meta(file)
    if meta["kind"] != kind:
        raise InputError(f"{flag}: {path} holds weights of kind {meta['kind']!r}, not {kind!r}")
    return file, meta


def read_weights(path: str | None, kind: str, flag: str) -> Network:
    """Read a weights file of one kind, as `find_weights`; its parameters are NumPy arrays.

    They are not compared with the module, which whoever builds on the file does.
    """
    file, meta = find_weights(path, kind, flag)
    fields = meta.pop("config")
    return CLASSES[kind](
        kind=meta.pop("kind"),
        module=None if kind == table.TEMPORAL else table.module_of(kind, fields, jnp.float32),
        params=load_weights(file)[0],
        fields=fields,
        source=str(path),
        meta=meta,
        sha256=sha256(file),
    )
