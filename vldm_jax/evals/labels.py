"""The labels of clips: what they were asked for, or are, beside their frames."""

import dataclasses
from collections.abc import Callable

import numpy as np

from vldm_jax.core.errors import InputError
from vldm_jax.typing import Float, Int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """Labels of a set of clips.

    Attributes:
        names: what they mean, in their order.
        of: number of a clip -> its labels, NaN where unknown.
    """

    names: tuple[str, ...]
    of: Callable[[int], Float[np.ndarray, " k"]]

    def picked(self, numbers: Int[np.ndarray, " n"]) -> "Labels":
        """Return the labels of the clips with these numbers, in their order."""
        return dataclasses.replace(self, of=lambda i: self.of(int(numbers[i])))


def label_column(
    labels: Labels | None, name: str, count: int, *, figure: str, what: str
) -> Float[np.ndarray, " n"]:
    """Return one label of every clip of a set.

    Args:
        labels: of the set; None if it has none.
        name: of the label.
        count: number of clips.
        figure: that needs it, for the message.
        what: the set, for the message.

    Raises:
        InputError: if the set has no such label, or it is unknown of a clip.
    """
    remedy = f"give labels.json beside the videos, or leave {figure} out with --figures"
    if labels is None or name not in labels.names:
        raise InputError(
            f"{figure} needs the label {name!r}, which the {what} do not have: {remedy}"
        )
    column = labels.names.index(name)
    values = np.array([labels.of(i)[column] for i in range(count)], np.float32)
    if unknown := int(np.isnan(values).sum()):
        raise InputError(
            f"{figure} needs the label {name!r}, which is unknown of {unknown} of {count} {what}: "
            f"{remedy}"
        )
    return values


def with_label(
    rows: Float[np.ndarray, "n t d"], values: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n t d2"]:
    """Return the numbers of clips with one more column: the label of each."""
    n, t, _ = rows.shape
    return np.concatenate([rows, np.broadcast_to(values[:, None, None], (n, t, 1))], axis=-1)
