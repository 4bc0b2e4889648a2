"""What a config says of conditions: which are used, their null values, and what samples ask for.

A condition speaks of arrays (`vldm_jax.conditions`); this is where its keys in a config are read:

    config.data.KEY        names of its columns, where it has some: ("night", "cars")
    config.model.FILE      of a condition with a null value in a file: the empty prompt's tokens
    config.sampling.KEY    what samples ask for, in turn
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vldm_jax.conditions import Condition
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.typing import Array, Conditioning

Conditions = tuple[Condition, ...]
OF_REAL = "those of the real clips"


def chosen(offered: Conditions, config: ConfigDict) -> Conditions:
    """Return those of a network's conditions that a config uses.

    One that the network can do without (text beside labels) is used where the config has a key for
    its null value.

    Raises:
        InputError: if the names of a condition's columns are not as many as the network takes.
    """
    used = tuple(c for c in offered if c.required or c.of_clip or c.null_file in config.model)
    for condition in used:
        if condition.null_file is not None and condition.null_file not in config.model:
            raise InputError(
                f"the network takes {condition.key!r}, but config.model has no "
                f"{condition.null_file!r}, its null value: take a config that has, as "
                "configs/text2video, or give the network none (config.model.network.context_dim)"
            )
        if condition.key in config.data and not condition.of_clip:
            names, wanted = config.data[condition.key], condition.example().shape[-1]
            if len(names) != wanted:
                raise InputError(
                    f"config.data.{condition.key}={names} must name {wanted} columns, one for each "
                    f"that the network takes, {condition}"
                )
    return used


def columns(used: Conditions, data: ConfigDict) -> dict[str, list[str]]:
    """Return the names of the columns of each condition that has some, in their order."""
    return {c.key: list(data[c.key]) for c in used if c.key in data}


def nulls(used: Conditions, model: ConfigDict) -> dict[str, Array]:
    """Return the null values that files of `config.model` hold, by key, leading with 1.

    Raises:
        InputError: if a file is not given, or holds something else.
    """
    return {
        c.key: jnp.asarray(c.rows(model[c.null_file], f"config.model.{c.null_file}")[:1])
        for c in used
        if c.null_file is not None
    }


def asked(used: Conditions, sampling: ConfigDict) -> dict[str, np.ndarray]:
    """Return what `config.sampling` asks for: {key: rows (n ...)}, which samples take in turn.

    Raises:
        InputError: if it has no value of a condition, or one of another shape.
    """
    for condition in used:
        if condition.key not in sampling:
            raise InputError(
                f"config.sampling lacks {condition.key!r}, which the network takes: say what "
                "samples ask for"
            )
    # Copies: a null value is an array of jax, which is read-only, and callers write into rows.
    return {c.key: np.array(c.rows(sampling[c.key], f"config.sampling.{c.key}")) for c in used}


def asked_in_words(
    used: Conditions, config: ConfigDict, brought: Collection[str]
) -> str | dict[str, str]:
    """Return what samples of an evaluation are asked for, for its recipe.

    Args:
        used: conditions of the network; what is made of clips, as their first frames, is not asked
            for.
        config: of the stage.
        brought: keys that the real clips have, whose values samples are asked for.
    """
    told = {}
    for condition in (one for one in used if not one.of_clip):
        key = condition.key
        if key in brought:
            told[key] = OF_REAL
        elif condition.null_file is not None:
            digest = sha256(resolve(config.sampling[key]))
            told[key] = f"config.sampling.{key} in turn, SHA-256 {digest}"
        else:
            told[key] = f"config.sampling.{key}={json.dumps(config.sampling[key])} in turn"
    if not told:
        return "none"
    return OF_REAL if set(told.values()) == {OF_REAL} else told


def captions(used: Conditions, cond: Conditioning, data: ConfigDict) -> list[str]:
    """Return a line on each sample: what it was asked for, in words."""
    rows = [_describe(condition, cond[condition.key], data) for condition in used]
    return [", ".join(text for text in texts if text) for texts in zip(*rows, strict=True)]


def _describe(condition: Condition, values: np.ndarray, data: ConfigDict) -> list[str]:
    names = data[condition.key] if condition.key in data else ()
    return [condition.describe(row, tuple(names)) for row in values]


def json_rows(used: Conditions, cond: Conditioning) -> dict[str, Any]:
    """Return the small values that samples were asked for; NaN, which JSON has not, as null."""
    return {
        c.key: [c.as_json(np.asarray(row)) for row in cond[c.key]]
        for c in used
        if c.null_file is None
    }


def made_with(
    used: Conditions, config: ConfigDict, files: Mapping[str, WeightsFile]
) -> dict[str, Any]:
    """Return what makes samples, as JSON values: of a folder of them, and of a program.

    Args:
        used: conditions of the network.
        config: of the stage.
        files: weights files that the sampler stands on, by their key in the config.
    """
    named = (
        name
        for c in used
        if c.null_file is not None
        for name in (f"model.{c.null_file}", f"sampling.{c.key}")
    )
    # Another file of the same name is another text.
    texts = {name: path for name in named if (path := _value(config, name)) is not None}
    below = {key: file for key, file in files.items() if key != "init"}
    hashes = {name: sha256(resolve(path)) for name, path in texts.items()}
    return {
        "fps": float(config.data.fps),
        "size": [config.data.height, config.data.width],
        "seed": config.seed,
        **settings_of(config),
        "weights_sha256": {key: file.sha256 for key, file in below.items()},
        "weights_steps": {k: f.meta["steps"] for k, f in below.items() if "steps" in f.meta},
        **({"text_sha256": hashes} if hashes else {}),
    }


def settings_of(config: ConfigDict) -> dict[str, Any]:
    """Return the sections that make samples, beside weights and seed, as far as there are any."""
    names = ("sampling", "diffusion")
    return {name: config[name].to_dict() for name in names if name in config}


def _value(config: ConfigDict, name: str) -> str | None:
    section, key = name.split(".")
    return config[section][key] if key in config[section] else None
