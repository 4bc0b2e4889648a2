"""What figures take beside clips: where chunks and tiles meet, how many frames are drawn.

A figure names the fields of `Given` that it takes. Each is fixed once the clips are known, to a
JSON value that is both what the figure is called with and what its recipe says, so the two cannot
differ. Something new that figures take is a field here, with a `fixed`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from vldm_jax.core.errors import InputError

Shape = tuple[int, int, int]


class Setting(Protocol):
    """A field of `Given`."""

    def fixed(self, clips: int | None, shape: Shape) -> Any:
        """Return the JSON value for so many clips (None: not known yet) of a shape (t, h, w).

        Raises:
            InputError: if there is none for such clips.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Borders:
    """First frames of the chunks after the first, in frames of a clip.

    Attributes:
        listed: those frames; or
        chunk: frames of a chunk, 0 if they are listed,
        overlap: of which so many are also those that end the chunk before.
    """

    listed: tuple[int, ...] = ()
    chunk: int = 0
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.chunk and not 0 <= self.overlap < self.chunk:
            raise InputError(
                f"--chunk {self.chunk}:{self.overlap}: the overlap must be less than the chunk"
            )

    def fixed(self, clips: int | None, shape: Shape) -> list[int]:
        """Return the borders inside a clip."""
        frames = shape[0]
        found = list(range(self.chunk, frames, self.chunk - self.overlap)) if self.chunk else []
        found = found or sorted(set(self.listed))
        if not found or found[0] < 1 or found[-1] >= frames:
            what = f"--chunk {self.chunk}" if self.chunk else f"--borders {_shown(self.listed)}"
            raise InputError(
                f"{what}: clips of {frames} frames have borders from 1 to {frames - 1}: take "
                "longer clips with --frames, or other borders"
            )
        if len(found) == frames - 1:
            raise InputError(f"all of {frames} frames are at a border: leave some to compare with")
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiles:
    """Tiles that a picture is made of, a border every so many pixels.

    Attributes:
        height: rows of a tile.
        width: columns of a tile.
    """

    height: int
    width: int

    def fixed(self, clips: int | None, shape: Shape) -> dict[str, list[int]]:
        """Return the first rows and columns of tiles after the first."""
        _, h, w = shape
        rows = [r for r in range(self.height, h, self.height) if 2 <= r <= h - 2]
        columns = [c for c in range(self.width, w, self.width) if 2 <= c <= w - 2]
        if not rows and not columns:
            raise InputError(
                f"--tiles {self.height}x{self.width}: clips of {h}x{w} have no border between "
                "tiles: give the tiles' height and width in pixels of the clips"
            )
        return {"rows": rows, "columns": columns}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """Frames that are drawn from those of all clips.

    Attributes:
        frames: how many, of each set.
        seed: of the draw.
        asked: by which flag, for messages.
    """

    frames: int
    seed: int
    asked: str = dataclasses.field(default="--frames-drawn", compare=False)

    def fixed(self, clips: int | None, shape: Shape) -> dict[str, int]:
        """Return how many, and the seed."""
        if clips is not None and clips * shape[0] < self.frames:
            raise InputError(
                f"{self.asked} {self.frames}: {clips} clips of {shape[0]} frames have "
                f"{clips * shape[0]}: draw no more, or give more clips"
            )
        return {"frames": self.frames, "seed": self.seed}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """All that figures may take beside clips; None for what is not given.

    Attributes:
        borders: of chunks.
        tiles: of pictures.
        drawn: frames for figures of frames; all of them if it is not given.
    """

    borders: Borders | None = None
    tiles: Tiles | None = None
    drawn: Drawn | None = None

    def fixed(self, names: Sequence[str], clips: int | None, shape: Shape) -> dict[str, Any]:
        """Return {field: JSON value} for those of these names that are given.

        Raises:
            InputError: if one does not fit the clips.
        """
        settings: dict[str, Setting | None] = {name: getattr(self, name) for name in names}
        return {
            name: setting.fixed(clips, shape)
            for name, setting in settings.items()
            if setting is not None
        }


def _shown(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
