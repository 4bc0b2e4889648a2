"""What a config consists of, and what each of its numbers may be, whatever the stage.

A config has the keys of its base (`config.base`), and no key that nothing reads: both a key that is
missing and one that is misspelt are refused by their names. `RANGES` is the table of every numeric
key that shared sections have. A number that would train or sample something silently wrong (a clip
at 0, a rate below 0) is refused by its name.
"""

from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from vldm_jax.config.table import check_keys
from vldm_jax.core.errors import InputError
from vldm_jax.core.fields import COUNT, NATURAL, NUMBER, POSITIVE, RATE, number, optional

SEED = number(lambda v: 0 <= v < 2**32, "a whole number in [0, 2^32)", int)
NOT_NEGATIVE = number(lambda v: v >= 0, "at least 0", int, float)
FRACTION = number(lambda v: 0 <= v <= 1, "in [0, 1]", int, float)

RANGES = {
    "seed": SEED,
    "data.num_frames": COUNT,
    "data.height": COUNT,
    "data.width": COUNT,
    "data.fps": POSITIVE,
    "data.stride": POSITIVE,
    "data.test_fraction": FRACTION,
    "data.workers": NATURAL,
    "data.max_boxes": COUNT,
    "diffusion.min_snr_gamma": POSITIVE,
    "objective.p_drop": FRACTION,
    "objective.perceptual_weight": NOT_NEGATIVE,
    "objective.given_noise": NATURAL,
    "objective.low_noise": NATURAL,
    "objective.patch": COUNT,
    "objective.kl_weight": NOT_NEGATIVE,
    "objective.disc_weight": NOT_NEGATIVE,
    "objective.disc_start": NATURAL,
    "objective.size_weight": NOT_NEGATIVE,
    "objective.offset_weight": NOT_NEGATIVE,
    "objective.attribute_weight": NOT_NEGATIVE,
    "objective.reconstructed": FRACTION,
    "objective.spoilt": FRACTION,
    "optim.lr": POSITIVE,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.clip_norm": POSITIVE,
    "optim.warmup_steps": NATURAL,
    "optim.accumulate": COUNT,
    "train.batch_size": COUNT,
    "train.total_steps": COUNT,
    "train.ema_decay": RATE,
    "train.log_every": COUNT,
    "train.sample_every": COUNT,
    "train.evaluate_every": COUNT,
    "train.stop_after_minutes": POSITIVE,
    "sampling.num_videos": COUNT,
    "sampling.batch_size": COUNT,
    "sampling.steps": COUNT,
    "sampling.guidance": NUMBER,
    "sampling.context_guidance": NUMBER,
    "sampling.given_noise": NATURAL,
    "sampling.low_noise": NATURAL,
    "sampling.chunk": COUNT,
    "sampling.overlap": NATURAL,
    "evals.clips": number(lambda v: v >= 2, "a whole number of at least 2", int),
    "checkpoint.every": COUNT,
    "checkpoint.keep": COUNT,
}
# Keys whose value may be absent, and its type where it is there: a placeholder keeps its type only
# until it is stored.
MAY_BE_NONE: dict[str, type] = {
    "context": str,  # of a stack
    "data.path": str,
    "data.index": str,
    "data.cache": str,
    "model.init": str,
    "model.autoencoder": str,
    "model.backbone": str,
    "model.null_context": str,
    "model.null_context_temporal": str,
    "model.network.heads": object,  # a whole number, or one of each level
    "model.network.head_dim": int,
    "model.network.context_dim": int,
    "model.network.num_classes": int,
    "model.temporal.max_frame_distance": int,
    "diffusion.min_snr_gamma": float,
    "optim.clip_norm": float,
    "train.ema_decay": float,
    "train.sample_every": int,
    "train.evaluate_every": int,
    "train.stop_after_minutes": float,
    "evals.keep_best": str,
    "sampling.low": str,
    "sampling.context": str,
    "sampling.context_temporal": str,
    "sampling.boxes": tuple,
    "sampling.decode.frames": int,
    "sampling.decode.tile": tuple,
    "sampling.grid.sigma_min": float,
    "sampling.grid.sigma_max": float,
}
# What an empty tuple says where one may want to say None.
EMPTY_MEANS = {
    "data.labels": "() is none of them",
    "sampling.labels": "() asks for any",
    "sampling.tile": "() is the whole frame",
}
# Keys that a config may lack: their source knows what is usual, or says that it needs them.
MAY_BE_MISSING = {
    f"data.{key}"
    for key in ("index", "stride", "split", "test_fraction", "enlarge", "cuts", "cache")
}


def check_complete(config: ConfigDict, base: ConfigDict) -> None:
    """Raise unless a config has every section and every key of its base.

    What is in a section of a section (a network's fields, a solver's) is for its constructor.

    Raises:
        InputError: naming the first that is missing.
    """
    for name, section in base.items():
        if name not in config:
            what = "section" if isinstance(section, ConfigDict) else "key"
            raise InputError(f"the config has no {what} {name!r}; vldm_jax.config.base has all")
        if not isinstance(section, ConfigDict):
            continue
        _check_section(config[name], name)
        for key, usual in section.items():
            path = f"{name}.{key}"
            if key in config[name]:
                if isinstance(usual, ConfigDict):
                    _check_section(config[name][key], path)
            elif path not in MAY_BE_MISSING:
                value = "a section" if isinstance(usual, ConfigDict) else repr(usual)
                raise InputError(
                    f"config.{path} is missing: vldm_jax.config.base has {value} there"
                )


def _check_section(value: Any, path: str) -> None:
    if not isinstance(value, ConfigDict):
        raise InputError(f"config.{path}={value!r} must be a section with keys of its own")


def check_known(
    config: ConfigDict, base: ConfigDict, more: Mapping[str, Collection[str] | None]
) -> None:
    """Raise for a section, or a key of one, that nothing reads.

    Args:
        config: complete.
        base: with every section and key that is always read.
        more: {section: keys that may stand there, too}; None for whatever the section has.

    Raises:
        InputError: naming it, and the nearest that there is.
    """
    check_keys(config, {*base, *more}, "")
    for name, section in config.items():
        further = more.get(name, ())
        if isinstance(section, ConfigDict) and further is not None:
            check_keys(section, [*(base[name] if name in base else ()), *further], name)


def check_ranges(config: ConfigDict) -> None:
    """Raise unless every number of a complete config is in its range.

    Raises:
        InputError: naming the first that is not, and what it may be.
    """
    for key, rule in RANGES.items():
        *parents, name = key.split(".")
        section = config[parents[0]] if parents and parents[0] in config else config
        if name not in section:
            continue
        value = section[name]
        rule = optional(rule) if key in MAY_BE_NONE else rule
        if not rule.holds(value):
            raise InputError(f"config.{key}={value!r} must be {rule.wanted}")
    _check_betas(config.optim.betas)


def _check_betas(betas: Any) -> None:
    pair = isinstance(betas, tuple) and len(betas) == 2
    if not pair or not all(map(RATE.holds, betas)):
        raise InputError(f"config.optim.betas={betas!r} must be two numbers in [0, 1)")
