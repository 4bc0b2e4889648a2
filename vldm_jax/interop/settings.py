"""What a config.json says against what this library can express.

Widths, depths and attention are read off the tensors; only what shapes don't tell (heads, groups,
epsilons, scale) is taken from the config. To be sure that nothing is silently dropped, the config
that an export of the same network would write is compared with the one that came: every entry must
agree, be a default, or be known to be about something else than the forward pass.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json
from vldm_jax.core.pointers import refuse_pointer
from vldm_jax.interop.files.tensors import reason

DEPTHS = ("layers_per_level", "blocks", "layers", "num_blocks")  # fields that repeat layers
MOST_LEVELS, LARGEST = 64, 1 << 24

# Entries that do not change the network's outputs in inference.
IRRELEVANT = {
    "sample_size",
    "num_frames",
    "dropout",
    "force_upcast",
    "upcast_attention",  # the softmax is float32 here
    "scaling_factor",
    "mid_block_type",  # which middle there is, is seen in the tensors
    "attention_type",
    "addition_embed_type_num_heads",
    "motion_max_seq_length",
}
# What diffusers' EMAModel adds to the config of the average that it saves (`unet_ema`).
IRRELEVANT |= {
    "decay",
    "inv_gamma",
    "min_decay",
    "optimization_step",
    "power",
    "update_after_step",
    "use_ema_warmup",
}


def read_config(path: Path) -> dict[str, Any]:
    """Return a config.json.

    Raises:
        InputError: if it is no JSON object, or a Git LFS pointer.
    """
    refuse_pointer(path)
    return read_json(path, "a table of settings")


@contextlib.contextmanager
def told_by(where: str, *also: str, settings: bool) -> Iterator[None]:
    """Turn what goes wrong in building a network into an error of the settings that it is from.

    Args:
        where: what the settings are from.
        *also: a message that names one of these says where by itself.
        settings: whether there are any but shapes. Only these, JSON of any type and size, can
            break a module in ways that it does not check; all else is our fault and stays as it is.
    """
    try:
        yield
    except InputError as error:
        if any(name in str(error) for name in (where, *also)):
            raise
        raise InputError(f"{where}: {error}") from error
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError) as error:
        if not settings:
            raise
        raise InputError(
            f"{where} describes no network of its weights ({reason(error)})"
        ) from error


def check_sizes(where: str, fields: Mapping[str, Any], arrays: int) -> None:
    """Raise for fields of no network that so few arrays could be of: to build it would not end.

    Args:
        where: what the fields are from.
        fields: of a module, JSON values.
        arrays: number of them in the file.

    Raises:
        InputError: naming the first field that is too large.
    """
    flat = paths.flatten(fields)
    levels = max((len(value) for value in flat.values() if isinstance(value, list)), default=1)
    for path, value in flat.items():
        numbers = [n for n in (value if isinstance(value, list) else [value]) if type(n) is int]
        repeated = path.rpartition("/")[2] in DEPTHS and max(numbers, default=0) * levels > arrays
        if repeated or len(numbers) > MOST_LEVELS or any(abs(n) > LARGEST for n in numbers):
            raise InputError(f"{where}: {path} = {str(value)[:60]} is no size of its network")


def overrides(corrected: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that replace what was found; of heads and their width, the one given."""
    either = {"heads": "head_dim", "head_dim": "heads"}
    other = {either[name]: None for name in corrected if either.get(name) in fields}
    inner = {
        name: fields[name] | value
        for name, value in corrected.items()
        if isinstance(value, Mapping) and isinstance(fields.get(name), Mapping)
    }
    return other | dict(corrected) | inner


def check_config(where: str, given: Mapping[str, Any], expressed: Mapping[str, Any]) -> None:
    """Raise if a config asks for something that the network built here does not do.

    Args:
        where: the config, for the message.
        given: config.json.
        expressed: what the exporter would write for the network as built; None where the class has
            an option that the network does not use.

    Raises:
        InputError: naming the first entry that differs.
    """
    for name, value in sorted(given.items()):
        if name.startswith("_") or name in IRRELEVANT or value is None:
            continue
        have = expressed.get(name)
        if have is None or have is False:  # not "in": 0 is equal to False
            if value is False:  # it asks for nothing
                continue
            raise InputError(f"{where}: {name} = {value!r} is not supported with these weights")
        if not _same(value, have):
            raise InputError(
                f"{where}: {name} = {value!r} is not supported with these weights, only {have!r}"
            )


def require(cls: str, fields: Mapping[str, Any], **wanted: Any) -> None:
    """Raise unless the fields have these values, the only ones that a foreign class can express.

    Raises:
        InputError: naming the class, the field and its value.
    """
    for name, value in wanted.items():
        have = fields.get(name, value)
        if not _same(have, value) and (have or value):
            raise InputError(f"{cls} cannot express {name} = {have!r}, only {value!r}")


def _same(a: Any, b: Any) -> bool:
    """Equal, where one number may stand for a list of equal ones."""
    if isinstance(a, list | tuple) or isinstance(b, list | tuple):
        length = max(len(x) for x in (a, b) if isinstance(x, list | tuple))
        a, b = (list(x) if isinstance(x, list | tuple) else [x] * length for x in (a, b))
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a == b
