"""Boxes of a stack's first frame: how they are asked for, and which part is told them."""

from vldm_jax.conditions.boxes import Boxes
from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json
from vldm_jax.stack.plan import Part, condition_of

Asked = tuple[tuple[float, ...], ...] | None  # () for none, None for unknown ones
NO_BOXES = "none"  # what --boxes says for a frame without any


def check_boxes(boxes: Asked, first: Part | None, *, given: bool) -> None:
    """Raise for boxes that no part is told.

    Args:
        boxes: asked for.
        first: the image model of the stack, if there is one.
        given: whether the first frame is.

    Raises:
        InputError: saying why not.
    """
    if boxes is None:
        return
    if given:
        raise InputError(
            "--boxes places what the first frame shows, which --context gives: leave one out"
        )
    if first is None or condition_of(first, Boxes) is None:
        who = "no part takes" if first is None else f"{first.name} takes no"
        raise InputError(
            f"--boxes: {who} boxes; let the first part be an image model that does "
            "(configs/driving/boxes.py), or leave them out"
        )


def parse_boxes(text: str | None) -> Asked:
    """Return the boxes of "0.1,0.5,0.3,0.7;0.6,0.5,0.7,0.6", or of a JSON file with a list of them.

    Args:
        text: "none" for no boxes, "" for unknown ones.

    Raises:
        InputError: if it is written otherwise, or the file cannot be read.
    """
    if not text:
        return None
    if text.strip() == NO_BOXES:
        return ()
    if text.endswith(".json"):
        return _read_boxes(text)
    try:
        return tuple(tuple(map(float, box.split(","))) for box in text.split(";"))
    except ValueError as error:
        raise InputError(
            f"--boxes {text!r}: write X0,Y0,X1,Y1;X0,Y0,X1,Y1 in fractions of the frame, "
            f"{NO_BOXES} for a frame without any, or name a JSON file"
        ) from error


def _read_boxes(path: str) -> tuple[tuple[float, ...], ...]:
    rows = read_json(path, "boxes, [[x0, y0, x1, y1], ...]", kind=list)
    if not all(isinstance(row, list) and all(type(x) in (int, float) for x in row) for row in rows):
        raise InputError(f"--boxes {path}: it must hold a list of boxes [x0, y0, x1, y1]")
    return tuple(tuple(map(float, row)) for row in rows)
