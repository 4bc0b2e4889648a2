"""A trained stage's sampler as a portable program: sample numbers and conditions -> frames."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vldm_jax.export.functions import Function, decoder_part, one
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.stages import asking
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.typing import Array, PyTree


def sampler_function(stage: DenoisingStage, params: PyTree) -> Function:
    """Return what `export.exports.write_function` writes.

    Noise is drawn inside, from the config's seed and each sample's number, so the program's sample
    n is `vldm sample`'s. Seed, steps, solver and guidance are fixed in it, and the null values of
    conditions.

    Args:
        stage: whose sampler it is.
        params: {"network", "autoencoder" if there is one}, whole trees.
    """
    config, sampler = stage.config, stage.sampler()
    inputs = {"index": one(jnp.int32)}
    meanings = {
        "index": "numbers of the samples; a sample's noise belongs to its number",
        "result": "frames, b t h w 3, bytes",
    }
    asked_for, told = asked_inputs(stage)
    inputs, meanings = {**inputs, **asked_for}, {**meanings, **told}

    def call(params: PyTree, index: Array, **asked: Any) -> Array:
        cond = {**asked, **stage.fixed(index.shape)}
        return sampler.frames(params, jax.random.key(config.seed), index, cond)[0]

    # Of an autoencoder, a sampler has the decoder alone.
    kept = {
        name: decoder_part(tree) if name == "autoencoder" else tree for name, tree in params.items()
    }
    return Function(call, kept, inputs, meanings)


def asked_inputs(
    stage: DenoisingStage,
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, str]]:
    """Return the conditions that a program takes: shapes with a batch of 1, and meanings."""
    inputs, meanings, data = {}, {}, stage.config.data
    for condition in stage.asked_for:
        null = stage.nulls.get(condition.key, condition.example())
        inputs[condition.key] = one(null.dtype, *null.shape[1:])
        names = data[condition.key] if condition.key in data else ()
        columns = f"{', '.join(names)}: " if names else ""
        meanings[condition.key] = f"{columns}{condition.meaning}"
    return inputs, meanings


def about(stage: DenoisingStage, files: Mapping[str, WeightsFile]) -> dict[str, Any]:
    """Return what a program of a stage's sampler says of itself.

    Args:
        stage: whose sampler it is.
        files: weights files that went in, by their key in the config.
    """
    return {"kind": "sampler", **asking.made_with(stage.conditions, stage.config, files)}
