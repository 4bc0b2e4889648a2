"""config.data -> source of examples and loader of batches."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from vldm_jax.config.table import from_table
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.data.boxes import boxes_source
from vldm_jax.data.pipeline import Loader, make_loader
from vldm_jax.data.record_source import records_source
from vldm_jax.data.relabel import RelabelledSource
from vldm_jax.data.source import folder_source
from vldm_jax.training.step import check_batch

# Every source's path, the loader's, the model's labels, rates that a source takes if there are any.
SHARED = ("path", "workers", "labels", "more_fps")
CLIPS = ("image", "video", "labels", "fps", "key")


class Row(NamedTuple):
    """A kind of data.

    Attributes:
        make: (path, **the other keys of config.data) -> a source, `data.inspect.Described`.
        brings: keys that its examples may have.
        ignores: keys of other kinds that may stand in the section and mean nothing here.
    """

    make: Callable[..., Any]
    brings: tuple[str, ...] = CLIPS
    ignores: tuple[str, ...] = ()


SOURCES = {
    "folder": Row(folder_source),
    "records": Row(records_source, ignores=("cache", "index")),
    "boxes": Row(boxes_source, brings=(*CLIPS, "boxes", "is_box")),
}


def brings(data: ConfigDict) -> tuple[str, ...]:
    """Return the keys that examples of `config.data` may have.

    Raises:
        InputError: if there is no such kind of data.
    """
    if data.kind not in SOURCES:
        raise InputError(f"config.data.kind={data.kind!r}: choose one of {sorted(SOURCES)}")
    return SOURCES[data.kind].brings


def keys_of(data: ConfigDict) -> tuple[str, ...] | None:
    """Return the keys that `config.data` may have; None if its kind takes any.

    Raises:
        InputError: if there is no such kind of data.
    """
    brings(data)
    row = SOURCES[data.kind]
    takes = inspect.signature(row.make).parameters
    if any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        return None
    return ("kind", *SHARED, *row.ignores, *(name for name in takes if name != "path"))


def build_source(data: ConfigDict, *, say: bool = True) -> RelabelledSource:
    """Return the examples of `config.data`.

    Args:
        data: the section.
        say: whether to print what is kept and skipped.

    Raises:
        InputError: if nothing is usable.
    """
    brings(data)
    row = SOURCES[data.kind]
    if not data.path:
        raise InputError("config.data.path is not set: give your videos, --config.data.path=FOLDER")
    left_out = {*SHARED, *row.ignores}
    fields = ConfigDict({key: value for key, value in data.items() if key not in left_out})
    if data.more_fps:
        fields.more_fps = data.more_fps
    source = from_table({data.kind: row.make}, fields, "data", path=resolve(data.path))
    source = RelabelledSource(source, data.labels)
    _check_labels(source)
    if say and jax.process_index() == 0:
        print(source.report, flush=True)
    return source


def _check_labels(source: RelabelledSource) -> None:
    """Raise for a label that is spelt almost as one that the data has: it would be unknown.

    Raises:
        InputError: naming both.
    """
    spare = [name for name in source.source.label_names if name not in source.label_names]
    for name in source.unknown["labels"]:
        if near := difflib.get_close_matches(name, spare, 1):
            raise InputError(
                f"config.data.labels names {name!r}, which the data has not; did you mean "
                f"{near[0]!r}?"
            )


def build_loader(config: ConfigDict, source: RelabelledSource) -> Loader:
    """Return this process's share of endless shuffled batches.

    Raises:
        InputError: if the batch does not divide over the devices or exceeds the data.
    """
    processes, devices = jax.process_count(), jax.device_count()
    check_batch(config.train.batch_size, config.optim.accumulate, devices)
    return make_loader(
        source,
        batch_size=config.train.batch_size // processes,
        seed=config.seed,
        shuffle=True,
        worker_count=config.data.workers,
        process_index=jax.process_index(),
        process_count=processes,
        fingerprint=source.fingerprint,
    )
