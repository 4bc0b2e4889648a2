"""Checkpoints of a run: everything that it needs to go on as if it had never stopped.

    <folder>/<step>/state     trained parameters, moments, average, step (arrays)
                    loader    position in the data, one file a process
                    config    the run's config
                    meta      version of the code; the frozen backbones by path and SHA-256

Step n is the state after n updates. Frozen parameters are not stored: `meta` names the files that
they came from, and resuming on other files is refused. A checkpoint is written under a temporary
name and renamed when it is whole, so a killed process leaves none that looks complete. Resuming on
CPU is bit-exact.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import LatestN

import vldm_jax
from vldm_jax.checkpoint.configs import canonical, check_same_run
from vldm_jax.checkpoint.position import PositionRestore, PositionSave
from vldm_jax.core.errors import InputError
from vldm_jax.parallel import hosts
from vldm_jax.typing import PyTree

ITEMS = ("state", "loader", "config", "meta")


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they are, usually <workdir>/checkpoints; made if absent.
        config: the run's config as nested dicts, kept in every checkpoint and compared on resuming.
        backbones: {path: SHA-256} of the weights files that the frozen parameters came from.
        keep: how many of the newest to keep.
        save_async: whether `save` returns before the files are written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        config: Mapping[str, Any],
        backbones: Mapping[str, str] | None = None,
        keep: int = 3,
        save_async: bool = True,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._config = canonical(config)
        self._meta = {"version": vldm_jax.__version__, "backbones": dict(backbones or {})}
        if hosts.is_main():
            _set_aside_incomplete(self.folder)
        hosts.barrier("incomplete checkpoints set aside")
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=LatestN(n=keep),
                enable_async_checkpointing=save_async,
                cleanup_tmp_directories=True,
            ),
            item_names=ITEMS,
        )

    def save(self, step: int, state: PyTree, loader: Any) -> None:
        """Save the state after `step` updates and the loader's position.

        The arrays are copied before this returns: the caller may give them away.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                loader=PositionSave(loader.get_state()),
                config=ocp.args.JsonSave(self._config),
                meta=ocp.args.JsonSave(self._meta),
            ),
            force=True,
        )

    def resume(self, state: PyTree, loader: Any) -> PyTree:
        """Return the newest saved state, or `state` if there is none; set the loader's position.

        Args:
            state: the initial state: tells structure, shapes and where arrays go.
            loader: its position is set.

        Raises:
            InputError: if the folder belongs to another config or other backbones, or the newest
                checkpoint cannot be read. Training never starts again silently.
        """
        step = self.latest_step()
        if step is None:
            return state
        where = self.folder / str(step)
        check_workdir(self.folder, self._config)
        self._check_backbones(where, read_json_item(where, "meta"))
        abstract = jax.tree.map(ocp.tree.to_shape_dtype_struct, state)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract), loader=PositionRestore()
                ),
            )
        except InputError:
            raise
        except Exception as error:  # orbax's many kinds of a damaged or foreign folder
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise InputError(
                f"{where} cannot be restored ({type(error).__name__}: {reason}): "
                "move that folder away to resume from the one before it"
            ) from error
        loader.set_state(restored["loader"])
        return restored["state"]

    def latest_step(self) -> int | None:
        """Return the step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def wait(self) -> None:
        """Wait until everything saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish what is under way and free the threads."""
        self._manager.close()

    def _check_backbones(self, where: Path, meta: Mapping[str, Any]) -> None:
        there, here = (sorted(side["backbones"].values()) for side in (meta, self._meta))
        if there != here:
            raise InputError(
                f"{where} was trained on the frozen weights {meta['backbones']}, "
                f"but here they are {self._meta['backbones']}: "
                "give the same files or another --workdir"
            )


def check_workdir(folder: str | os.PathLike[str], config: Mapping[str, Any]) -> None:
    """Raise if a folder of checkpoints belongs to another config; cheap, to be called first.

    Raises:
        InputError: naming the first differing keys.
    """
    if steps := complete_steps(folder):
        newest = Path(folder) / str(steps[-1])
        check_same_run(newest, read_json_item(newest, "config"), canonical(config))


def read_json_item(checkpoint: Path, item: str) -> dict[str, Any]:
    """Return the JSON item "config" or "meta" of a checkpoint folder.

    Raises:
        InputError: if it is missing or not JSON.
    """
    path = checkpoint / item / "metadata"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{checkpoint} is no complete checkpoint: cannot read {path} ({error})"
        ) from error


def is_complete(checkpoint: Path) -> bool:
    """Return whether a step's folder holds all items and orbax's own mark of completion."""
    return (checkpoint / "_CHECKPOINT_METADATA").exists() and all(
        (checkpoint / item).is_dir() for item in ITEMS
    )


def complete_steps(folder: str | os.PathLike[str]) -> list[int]:
    """Return the steps of the complete checkpoints in a folder, ascending."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    steps = (int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    return sorted(step for step in steps if is_complete(folder / str(step)))


def _set_aside_incomplete(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.isdecimal() and not is_complete(path):
            path.rename(path.with_name(f"incomplete_{path.name}_{time.time_ns()}"))
