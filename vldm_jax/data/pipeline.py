"""Examples to shuffled batches whose position can be saved (grain).

The source, shuffled anew in every epoch from `seed`, is one endless stream. Global step s takes the
`batch_size * process_count` examples from position s * batch_size * process_count on, and process p
those whose position is p modulo `process_count`. So

- every example comes once an epoch, batches run on over the epochs' ends, and all processes have
  the same number of batches;
- which examples make step s does not depend on the number of processes or workers, if the global
  batch is the same;
- the position is one number, and a restart from it continues bit by bit.

Decoding happens ahead of use: in threads (`worker_count=0`; PyAV and Pillow release the
interpreter lock) or in processes, which are spawned: a script that uses them needs
`if __name__ == "__main__":`.
"""

from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.data.workers import Fetcher, Portable, start_worker

Batch = dict[str, np.ndarray]


@runtime_checkable
class Source(Protocol):
    """What can be loaded: a length and examples by position (grain's RandomAccessDataSource)."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: SupportsIndex) -> dict[str, Any]: ...


class Loader:
    """An iterator over batches with a position; see `make_loader`."""

    def __init__(
        self,
        batches: Any,
        identity: dict[str, int],
        global_batch: int,
        worker_count: int,
        prefetch: int,
    ):
        self._batches = batches
        self._identity = identity
        self._global_batch = global_batch
        self._worker_count = worker_count
        self._prefetch = prefetch
        self._step = 0
        self._fetcher: Fetcher | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __len__(self) -> int:
        """Batches from the first to the last; astronomically many where epochs never end."""
        return len(self._batches)

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            StopIteration: after the last one.
            WorkerError: if a worker process has died. The position is still that of the last batch.
        """
        if self._step >= len(self._batches):
            self.close()
            raise StopIteration
        if self._fetcher is None:
            rest = self._batches[self._step :]
            start = partial(_iterate, rest, self._worker_count, self._prefetch)
            self._fetcher = Fetcher(start, self._worker_count)
        batch = self._fetcher.fetch()
        self._step += 1
        # From workers the arrays are views of shared memory, which is given back here.
        return {name: np.array(value) for name, value in batch.items()}

    def get_state(self) -> dict[str, int]:
        """Return the position after the last batch that was handed out, as JSON-able numbers."""
        return {**self._identity, "position": self._step * self._global_batch}

    def set_state(self, state: dict[str, int]) -> None:
        """Go to a saved position, which another number of processes or workers may have saved.

        Raises:
            InputError: if it belongs to another source, seed or order, lies between two batches, or
                is none.
        """
        # A position of an earlier version does not know the data's fingerprint.
        wanted = self.get_state().keys() - ({"fingerprint"} - state.keys())
        if not all(name in state and type(state[name]) is int for name in wanted):
            raise InputError(
                "the saved data position is damaged: take another checkpoint, or start in a new "
                "folder"
            )
        for name, value in self._identity.items():
            if state.get(name, value) != value:
                raise InputError(
                    f"the saved data position is of {name} {state[name]}, this data has {value}: "
                    "use the data settings of the saved run, or start in a new folder"
                )
        step, rest = divmod(state["position"], self._global_batch)
        if rest:
            raise InputError(
                f"the saved data position {state['position']} is not a multiple of the global "
                f"batch of {self._global_batch}: keep batch size times processes as it was"
            )
        self.close()
        self._step = step

    def close(self) -> None:
        """Stop the workers; the position stays and the next batch starts them again."""
        if self._fetcher is not None:
            self._fetcher.close()
        self._fetcher = None

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _iterate(batches: Any, worker_count: int, prefetch: int) -> Any:
    """Start preparing batches; returns grain's iterator over them."""
    import grain
    from absl import flags

    threads = 1 if worker_count else 2
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
    ahead = batches.to_iter_dataset(options)
    if worker_count:
        if not flags.FLAGS.is_parsed():  # grain reads absl flags when it starts processes
            flags.FLAGS.mark_as_parsed()
        workers = grain.MultiprocessingOptions(
            num_workers=worker_count, per_worker_buffer_size=prefetch
        )
        small = grain.experimental.DatasetOptions(min_shm_size=1 << 16)
        ahead = grain.experimental.WithOptionsIterDataset(ahead, small)
        ahead = ahead.mp_prefetch(workers, start_worker)
    return iter(ahead)


def make_loader(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    shuffle: bool,
    num_epochs: int | None = None,
    worker_count: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    drop_remainder: bool = True,
    prefetch: int = 2,
    fingerprint: int | None = None,
) -> Loader:
    """Return an iterator of {name: stacked arrays (b ...)} over a source.

    Args:
        source: anything with a length and examples by position; picklable if there are workers.
        batch_size: examples a batch in this process.
        seed: of the order; an epoch's order follows from (seed, epoch).
        shuffle: whether to shuffle; without, the order is the source's.
        num_epochs: passes over the source; None never ends.
        worker_count: processes that prepare batches; 0 uses threads of this one.
        process_index: number of this process.
        process_count: processes that share the source; each gets the same number of batches.
        drop_remainder: drop what does not fill a batch at the very end; must hold for more than one
            process, which would otherwise disagree on the number of batches.
        prefetch: batches prepared ahead (by each worker).
        fingerprint: of what the examples are; kept with the position and compared.

    Raises:
        InputError: if the source is smaller than one global batch or an argument is out of range.
    """
    global_batch = batch_size * process_count
    _check(batch_size, worker_count, process_index, process_count, drop_remainder)
    if len(source) < global_batch and drop_remainder:
        raise InputError(
            f"the data has {len(source)} examples, fewer than one global batch of {global_batch} "
            f"({process_count} processes of {batch_size}): lower the batch size or add data"
        )
    import grain  # and with it jax and orbax: seconds that a refusal does without

    stream = grain.MapDataset.source(Portable(source) if worker_count else source).seed(seed)
    if shuffle:
        stream = stream.shuffle()
    stream = stream.repeat(num_epochs)
    if drop_remainder:
        stream = stream[: len(stream) // global_batch * global_batch]
    batches = stream[process_index::process_count].batch(batch_size, drop_remainder=drop_remainder)
    identity = {"num_examples": len(source), "seed": seed, "shuffle": int(shuffle)}
    if fingerprint is not None:
        identity["fingerprint"] = fingerprint
    return Loader(batches, identity, global_batch, worker_count, prefetch)


def _check(
    batch_size: int, worker_count: int, process_index: int, process_count: int, drop_remainder: bool
) -> None:
    if batch_size < 1 or not 0 <= process_index < process_count:
        raise InputError(
            f"{batch_size=} must be positive and {process_index=} below {process_count=}"
        )
    if worker_count < 0:
        raise InputError(
            f"{worker_count=} (config.data.workers) must be 0, for threads, or the number of "
            "worker processes"
        )
    if process_count > 1 and not drop_remainder:
        raise InputError(
            f"{drop_remainder=} with {process_count=}: processes would have different numbers of "
            "batches; drop the remainder or use one process"
        )
