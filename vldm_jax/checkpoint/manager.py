"""Checkpoints of a run: everything that it needs to go on as if it had never stopped.

    <folder>/<step>/state          trained parameters, moments, average, step (arrays)
                    loader         position in the data, one file a process
                    config         the run's config
                    meta           version of the code; the frozen backbones, and the other files
                                   that were read, by path and SHA-256; what the open record of
                                   metrics has so far
                    manifest.json  size and SHA-256 of all these files

Step n is the state after n updates. Frozen parameters are not stored: `meta` names the files that
they came from, and resuming on other files is refused. A checkpoint is written under a temporary
name and renamed when it is whole, so a killed process leaves none that looks complete; one that was
damaged later is named and set aside, and the run goes on from the last whole one. Resuming on CPU
is bit-exact.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import LatestN

import vldm_jax
from vldm_jax.checkpoint.configs import canonical, check_same_run
from vldm_jax.checkpoint.manifest import write_manifest
from vldm_jax.checkpoint.position import PositionHandler, PositionRestore, PositionSave
from vldm_jax.checkpoint.steps import (
    ITEMS,
    newest_config,
    read_description,
    read_json_item,
    set_damaged_aside,
)
from vldm_jax.core.errors import InputError
from vldm_jax.parallel import hosts
from vldm_jax.typing import PyTree

# Orbax logs what fails in the background with its trace, and raises it later: once is enough.
logging.getLogger("absl").addFilter(
    lambda record: record.levelno < logging.ERROR or "orbax" not in record.pathname
)


class Checkpoints:
    """The checkpoints of one run, which must own the folder (`checkpoint.owner`).

    Args:
        folder: where they are, usually <workdir>/checkpoints; made if absent.
        config: the run's config as nested dicts, kept in every checkpoint and compared on resuming.
        backbones: {path: SHA-256} of the weights files that the frozen parameters came from.
        inputs: {path: SHA-256} of the other files that a run reads: what it started from, and null
            values of conditions.
        keep: how many of the newest to keep.

    Raises:
        InputError: if there are checkpoints, but none is whole.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        config: Mapping[str, Any],
        backbones: Mapping[str, str] | None = None,
        inputs: Mapping[str, str] | None = None,
        keep: int = 3,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._config = canonical(config)
        self._meta = {
            "version": vldm_jax.__version__,
            "backbones": dict(backbones or {}),
            "inputs": dict(inputs or {}),
        }
        self._saving = 0
        problem = set_damaged_aside(self.folder) if hosts.is_main() else None
        if not hosts.agree(problem is None):
            raise InputError(problem or f"process 0 finds no whole checkpoint in {self.folder}")
        hosts.barrier("damaged checkpoints set aside")
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=LatestN(n=keep),
                cleanup_tmp_directories=True,
                lightweight_initialize=True,
                async_options=ocp.options.AsyncOptions(
                    post_finalization_callback=self._write_manifest
                ),
            ),
            item_names=ITEMS,
        )

    def save(
        self, step: int, state: PyTree, loader: Any, interval: Mapping[str, Any] | None = None
    ) -> None:
        """Save the state after `step` updates, the loader's position and the open record.

        The arrays are copied before this returns: the caller may give them away. The files are
        written in the background.

        Args:
            step: number of updates done.
            state: arrays.
            loader: its position is saved.
            interval: JSON values for whoever resumes, of the metrics since the last record.

        Raises:
            OSError: naming the checkpoint, if it or the one before cannot be written.
        """
        with _naming(self._unfinished()):  # waits for the one before
            self._manager.wait_until_finished()
        self._saving = step
        meta = self._meta | {"interval": None if interval is None else dict(interval)}
        with _naming(self._unfinished()):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    loader=PositionSave(loader.get_state()),
                    config=ocp.args.JsonSave(self._config),
                    meta=ocp.args.JsonSave(meta),
                ),
                force=True,
            )

    def resume(self, state: PyTree, loader: Any) -> tuple[PyTree, dict[str, Any] | None]:
        """Return the newest saved state and its open record; set the loader's position.

        Args:
            state: the initial state: tells structure, shapes and where arrays go.
            loader: its position is set.

        Returns:
            What `save` was given; (`state`, None) if nothing is saved.

        Raises:
            InputError: if the folder belongs to another config or other backbones, or the newest
                checkpoint cannot be read. Training never starts again silently.
        """
        step = self.latest_step()
        if step is None:
            return state, None
        where = self.folder / str(step)
        check_same_run(where, read_json_item(where, "config"), self._config)
        meta = read_description(where)
        self._check_files(where, meta)
        abstract = jax.tree.map(ocp.tree.to_shape_dtype_struct, state)
        try:
            # Item by item: the checkpoint's own description, which orbax wants to read, has no sum.
            restored = ocp.StandardCheckpointHandler().restore(
                where / "state", args=ocp.args.StandardRestore(abstract)
            )
            position = PositionHandler().restore(epath.Path(where / "loader"), PositionRestore())
            loader.set_state(position)
        except InputError:
            raise
        except Exception as error:  # orbax's many kinds of a damaged or foreign folder
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise InputError(
                f"{where} cannot be restored ({type(error).__name__}: {reason}): "
                "move that folder away to resume from the one before it"
            ) from error
        return restored, meta["interval"] if "interval" in meta else None

    def latest_step(self) -> int | None:
        """Return the step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Wait until everything saved is on disk.

        Raises:
            OSError: naming the checkpoint, if it cannot be written.
        """
        with _naming(self._unfinished()):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish what is under way and free the threads.

        Raises:
            OSError: as `wait`.
        """
        try:
            self.wait()
        finally:
            self._manager.close()

    def _unfinished(self) -> Path:
        return self.folder / str(self._saving)

    def _write_manifest(self) -> None:
        (unfinished,) = self.folder.glob(f"{self._saving}.*tmp*")
        write_manifest(unfinished)

    def _check_files(self, where: Path, meta: Mapping[str, Any]) -> None:
        for name, what in (("backbones", "frozen weights"), ("inputs", "input files")):
            if name not in meta:  # an older version did not know them
                continue
            there, here = (sorted(side[name].values()) for side in (meta, self._meta))
            if there != here:
                raise InputError(
                    f"{where} was trained on the {what} {meta[name]}, but here they are "
                    f"{self._meta[name]}: give the same files or another --workdir"
                )


def check_workdir(folder: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Raise if a folder of checkpoints belongs to another config; cheap, to be called first.

    Raises:
        InputError: naming the first differing keys.
    """
    if found := newest_config(folder):  # one that is damaged `Checkpoints` will name
        checkpoint, stored = found
        check_same_run(checkpoint, stored, canonical(config))


@contextlib.contextmanager
def _naming(checkpoint: Path) -> Iterator[None]:
    """Say in one line that a checkpoint cannot be written, whatever orbax raises then."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        text = str(error).strip() or type(error).__name__
        disk = isinstance(error, OSError) or "local file" in text  # how tensorstore names one
        if isinstance(error, TimeoutError) or not disk:  # waiting for another process, or a defect
            raise RuntimeError(f"{checkpoint} was not written") from error
        known = re.search(r"No space left on device|Disk quota exceeded|File too large", text)
        raise OSError(
            f"{checkpoint} cannot be written ({known[0] if known else text.splitlines()[0]}): once "
            "it can, the same command goes on from the checkpoint before it"
        ) from error
