"""What to write as a portable program of a trained stage: its sampler."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from vldm_jax.build.sampler import Sampler, load_context
from vldm_jax.core.conditioning import Conditioning
from vldm_jax.export.exports import write_function
from vldm_jax.export.functions import Function, decoder_part, one
from vldm_jax.models.video_unet import VideoUNet
from vldm_jax.typing import Array, PyTree


def sampler_function(sampler: Sampler, params: PyTree) -> Function:
    """Return a trained stage's sampler: sample numbers and conditions -> frames.

    Noise is drawn inside, from the config's seed and each sample's number, so the program's sample
    n is `vldm sample`'s.

    Args:
        sampler: of the stage.
        params: {"network", "autoencoder"}, whole trees.
    """
    config = sampler.config
    kept = decoder_part(params["autoencoder"])  # sampling only decodes
    params = {"network": params["network"], "autoencoder": kept}
    inputs = {"index": one(jnp.int32)}
    if config.objective.use_labels:
        inputs["labels"] = one(jnp.float32, len(sampler.network.label_tokens))
    if "null_context" in config.model:
        empty = load_context(config.model.null_context, "--config.model.null_context")
        params["null_context"] = jnp.asarray(empty[:1])
        inputs["context"] = one(jnp.float32, *empty.shape[1:])

    def call(params: PyTree, index: Array, labels: Any = None, context: Any = None) -> Array:
        flags = None
        if isinstance(sampler.network, VideoUNet):
            flags = jnp.full(index.shape, config.sampling.image_only)
        cond = Conditioning(labels=labels, context=context, image_only=flags)
        null = cond
        if labels is not None:
            null = null.replace(labels=jnp.full_like(labels, jnp.nan))
        if context is not None:
            null = null.replace(context=jnp.broadcast_to(params["null_context"], context.shape))
        return sampler.frames(params, index, cond, null)

    names = ", ".join(config.data.labels) if config.objective.use_labels else ""
    meanings = {
        "index": "numbers of the samples; a sample's noise belongs to its number",
        "labels": f"{names}; NaN for any",
        "context": "text tokens",
        "result": "frames, b t h w 3, bytes",
    }
    return Function(call, params, inputs, meanings)


def export_sampler(
    config: ConfigDict,
    sampler: Sampler,
    params: PyTree,
    files: Mapping[str, str],
    *,
    out: str | Path,
    dtype: str | None,
) -> None:
    """Write a trained stage's sampler as a program.

    Args:
        config: of the stage; seed, steps, solver and guidance are fixed in the program.
        sampler: of the stage.
        params: {"network", "autoencoder"}, whole trees.
        files: weights file -> SHA-256, all that went in.
        out: folder.
        dtype: of the weights; None keeps theirs.
    """
    about: dict[str, Any] = {
        "kind": "sampler",
        "fps": float(config.data.fps),
        "size": [config.data.height, config.data.width],
        "seed": config.seed,
        "sampling": config.sampling.to_dict(),
        "diffusion": config.diffusion.to_dict(),
        "weights_sha256": {Path(path).name: digest for path, digest in files.items()},
    }
    write_function(sampler_function(sampler, params), out, about, dtype)
