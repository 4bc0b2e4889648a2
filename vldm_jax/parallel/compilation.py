"""Compiled programs, kept on disk for the next start.

    $XDG_CACHE_HOME/vldm_jax/compiled/<kind of machine>/<program>-<key>-cache

jax writes its cache in place, so that a process that is killed, or two that write at once, can
leave an entry which is not whole. Here a process has a folder of its own: it begins with links to
the shared entries, and what is added is linked back when it is whole. What comes out of the cache
is bit for bit what the compiler gave.

`VLDM_COMPILATION_CACHE` names another folder, or is "off". Where jax has been given a folder
(`JAX_COMPILATION_CACHE_DIR`), that one is used, as jax does.
"""

import contextlib
import os
import platform
import sys
import zlib
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
from jax.experimental.compilation_cache import compilation_cache

from vldm_jax.core.caches import kept_folder
from vldm_jax.core.scratch import scratch_folder

VARIABLE = "VLDM_COMPILATION_CACHE"
LIMIT = 4 << 30  # bytes of entries of one kind of machine; what was not used longest goes first
COMPILED = "/jax/core/compile/backend_compile_duration"  # said when an entry is written, too
SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,  # a start has some 70 small programs
    "jax_persistent_cache_enable_xla_caches": "none",  # they would be keyed by the folder's name
}


@contextlib.contextmanager
def compilations_kept() -> Iterator[None]:
    """Take programs from the cache in this context, and leave there what had to be compiled."""
    shared = _shared_folder()
    if shared is None or jax.config.jax_compilation_cache_dir is not None:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            shared.mkdir(parents=True, exist_ok=True)
            _prune(shared)
            own = stack.enter_context(scratch_folder(shared))
            known = _link(shared, own, set())
        except OSError as error:
            print(f"compiled programs are not kept: {error}", file=sys.stderr)
        else:
            _use(own, stack)

            def give(event: str, *_: Any, **__: Any) -> None:
                if event == COMPILED:
                    known.update(_link(own, shared, known))

            jax.monitoring.register_event_duration_secs_listener(give)
            stack.callback(jax.monitoring.unregister_event_duration_listener, give)
        yield


def _shared_folder() -> Path | None:
    folder = kept_folder(VARIABLE, "compiled")
    return None if folder is None else folder / _machine()


def _machine() -> str:
    """Programs for a CPU hold its instructions, and homes are shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        instructions = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        instructions = platform.processor()
    return f"{platform.machine()}-{zlib.crc32(instructions.encode()):08x}"


def _link(source: Path, target: Path, known: Set[str]) -> set[str]:
    """Give the entries of a folder to another one, whole or not at all; a full disk is no error.

    Args:
        source: folder.
        target: folder.
        known: names that both have; there are thousands, and a link that fails takes its time.

    Returns:
        Names that both have now, beside these.
    """
    linked = set()
    for name in {entry.name for entry in os.scandir(source)} - known:
        if name.endswith("-cache"):
            try:
                os.link(source / name, target / name)
            except FileExistsError:
                pass
            except OSError:  # gone, or the disk is full
                continue
            linked.add(name)
    return linked


def _prune(folder: Path) -> None:
    entries = []
    for entry in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):
            stat = entry.stat()
            # A program that is taken from here every day is old by its writing alone.
            entries.append((max(stat.st_atime, stat.st_mtime), stat.st_size, entry))
    size = sum(size for _, size, _ in entries)
    for _, bytes_, entry in sorted(entries):
        if size <= LIMIT:
            break
        entry.unlink(missing_ok=True)
        size -= bytes_


def _use(folder: Path, stack: contextlib.ExitStack) -> None:
    for name, value in (SETTINGS | {"jax_compilation_cache_dir": str(folder)}).items():
        stack.callback(jax.config.update, name, getattr(jax.config, name))
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # what was compiled before may have settled it
    stack.callback(compilation_cache.reset_cache)
