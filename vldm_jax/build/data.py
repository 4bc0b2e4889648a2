"""config.data -> source of examples and loader of batches."""

from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from vldm_jax.build.table import from_table
from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.data.inspect import Described
from vldm_jax.data.pipeline import Loader, Source, make_loader
from vldm_jax.data.record_source import records_source
from vldm_jax.data.relabel import RelabelledSource
from vldm_jax.data.source import folder_source

Labels = tuple[str, ...]


def _folder(*, path: str | None, workers: int, labels: Labels, **fields: Any) -> Described:
    del workers, labels  # the loader's, and every source's
    return folder_source(_resolve(path), **fields)


def _records(
    *,
    path: str | None,
    workers: int,
    labels: Labels,
    cache: str | None,
    index: str | None,
    **fields: Any,
) -> Described:
    del workers, labels, cache, index  # records need neither cache nor index
    return records_source(_resolve(path), **fields)


SOURCES = {"folder": _folder, "records": _records}


def _resolve(path: str | None) -> Path:
    if not path:
        raise InputError("config.data.path is not set: give your videos, --config.data.path=FOLDER")
    return resolve(path)


def build_source(data: ConfigDict) -> RelabelledSource:
    """Return the examples of `config.data`; prints what is kept and skipped.

    Raises:
        InputError: if nothing is usable.
    """
    source = RelabelledSource(from_table(SOURCES, data, "data"), data.labels)
    if jax.process_index() == 0:
        print(source.report, flush=True)
    return source


def build_loader(config: ConfigDict, source: Source) -> Loader:
    """Return this process's share of endless shuffled batches.

    Raises:
        InputError: if the batch does not divide over the devices or exceeds the data.
    """
    processes, devices = jax.process_count(), jax.device_count()
    if config.train.batch_size % devices:
        raise InputError(
            f"config.train.batch_size={config.train.batch_size} must be divisible by the number of "
            f"devices, {devices}"
        )
    return make_loader(
        source,
        batch_size=config.train.batch_size // processes,
        seed=config.seed,
        shuffle=True,
        worker_count=config.data.workers,
        process_index=jax.process_index(),
        process_count=processes,
    )
