"""`vldm train --dry-run`: a few real steps that leave nothing, and what the whole run would take.

Caches are not part of a run: of the videos, `config.data.cache`, and of compiled programs.

Data is read, weights are loaded, the step is compiled and run, so what would fail at its start
fails here. Memory is what the compiler says of the step, without the loader's and the allocator's.
"""

import time
from contextlib import closing
from typing import Any

import jax
from ml_collections import ConfigDict

from vldm_jax.cli.prepare import Prepared, prepare
from vldm_jax.parallel import hosts
from vldm_jax.stages.plan import make_plan
from vldm_jax.training.interval import Interval
from vldm_jax.training.stopping import check_finite
from vldm_jax.typing import PyTree

STEPS = 4  # the first is warm-up, and not counted


def dry_run(config: ConfigDict) -> None:
    """Take a few steps of a run and print what it would take; write nothing but caches.

    Raises:
        InputError: as training would.
        NonFiniteError: if a loss, gradient or update is not finite.
    """
    prepared = prepare(make_plan(config))
    with closing(prepared.loader):
        lines = _try(config, prepared)
    if hosts.is_main():
        width = max(len(name) for name, _ in lines)
        print("\n".join(f"{name:{width}}  {text}" for name, text in lines))
        print(f"dry run: {STEPS} steps, nothing is written but caches", flush=True)


def _try(config: ConfigDict, prepared: Prepared) -> list[tuple[str, str]]:
    update, state = prepared.update, prepared.state
    trained, frozen, kept = _sizes(state.params), _sizes(update.frozen), _sizes(state)
    batch = update.place(next(prepared.loader))
    begun = time.monotonic()
    program = update.program(state, batch)
    compiling = time.monotonic() - begun
    for step in range(STEPS):
        if step <= 1:  # what the first one takes is not counted
            interval = Interval()
        with interval.clock.waiting():
            batch = update.place(next(prepared.loader))
        state, metrics = program(state, update.frozen, batch, update.root_key)
        check_finite(step + 1, interval.add(metrics), None)
    took = interval.figures()
    lasts = took["step_seconds"] * config.train.total_steps
    return [
        ("trained", f"{trained[0]:,} parameters"),
        ("frozen", f"{frozen[0]:,} parameters, {_bytes(frozen[1])}"),
        ("batch", ", ".join(f"{key} {value.shape}" for key, value in batch.items())),
        ("memory", _memory(program.memory_analysis())),
        (
            "a step",
            f"{took['step_seconds']:.3g} s, {took['loader_wait_seconds']:.3g} of them waiting for "
            f"data; compiling took {compiling:.0f} s",
        ),
        ("the run", _length(config.train, lasts)),
        ("disk", f"{_bytes(kept[1])} a checkpoint, {config.checkpoint.keep} are kept"),
    ]


def _sizes(tree: PyTree) -> tuple[int, int]:
    """Return the number of values and of bytes."""
    leaves = jax.tree.leaves(tree)
    return sum(leaf.size for leaf in leaves), sum(leaf.nbytes for leaf in leaves)


def _memory(of: Any) -> str:
    """Say what a compiled program needs of every device."""
    if of is None:
        return "the compiler of this device does not tell"
    inputs, inside = of.argument_size_in_bytes, of.temp_size_in_bytes
    whole = inputs + inside + of.output_size_in_bytes - of.alias_size_in_bytes
    there = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    room = f" of its {_bytes(there)}" if there else ""
    return (
        f"{_bytes(whole)} a device{room}: {_bytes(inputs)} state, frozen parameters and batch, "
        f"{_bytes(inside)} of the step"
    )


def _length(train: ConfigDict, seconds: float) -> str:
    text = f"{train.total_steps:,} steps take {_time(seconds)}, previews and saving apart"
    limit = train.stop_after_minutes
    if limit is None or 60 * limit >= seconds:
        return text
    share = 60 * limit / seconds
    return f"{text}; train.stop_after_minutes={limit:g} ends it after about {share:.0%} of them"


def _bytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _time(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
