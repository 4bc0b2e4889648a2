"""Where the training data stands, as one item of an orbax checkpoint.

A position is what a loader's `get_state` returns: JSON (grain's datasets) or bytes (grain's
DataLoader). Every process has its own share of the data, so every process writes its own file.
"""

import base64
import dataclasses
import json
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from vldm_jax.core.errors import InputError


class PositionHandler(ocp.CheckpointHandler):
    """Writes and reads process_<i>-of-<n>.json."""

    def save(self, directory: epath.Path, args: "PositionSave") -> None:
        """Write this process's position."""
        _file(directory).write_text(encode(args.position))

    def restore(self, directory: epath.Path, args: "PositionRestore | None" = None) -> Any:
        """Return this process's position; the common one if the number of processes has changed.

        Raises:
            InputError: if it has changed and the positions of the processes differ.
        """
        path = _file(directory)
        if path.exists():
            return decode(path.read_text())
        texts = {file.read_text() for file in directory.glob("process_*.json")}
        if len(texts) != 1:
            raise InputError(
                f"{directory} holds {len(texts)} different loader positions and none for process "
                f"{jax.process_index()} of {jax.process_count()}: resume with as many processes"
            )
        return decode(texts.pop())


@ocp.args.register_with_handler(PositionHandler, for_save=True)
@dataclasses.dataclass
class PositionSave(ocp.args.CheckpointArgs):
    """Argument of a save."""

    position: Any


@ocp.args.register_with_handler(PositionHandler, for_restore=True)
@dataclasses.dataclass
class PositionRestore(ocp.args.CheckpointArgs):
    """Argument of a restore."""


def encode(position: Any) -> str:
    """Return a position as JSON text."""
    if isinstance(position, bytes):
        position = {"base64": base64.b64encode(position).decode("ascii")}
    return json.dumps(position)


def decode(text: str) -> Any:
    """Return the position that `encode` was given."""
    position = json.loads(text)
    if isinstance(position, dict) and set(position) == {"base64"}:
        return base64.b64decode(position["base64"])
    return position


def _file(directory: epath.Path) -> epath.Path:
    return directory / f"process_{jax.process_index()}-of-{jax.process_count()}.json"
