"""The labels that a model takes, by name, from a source that has others, more, or none.

So a model trained with ("night", "cars") also trains on a folder without `labels.json`: every label
is unknown there (NaN), the condition that guidance calls dropped.
"""

import zlib
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np

from vldm_jax.data.inspect import Described
from vldm_jax.typing import Int


@dataclass(frozen=True, eq=False)
class RelabelledSource:
    """A source whose examples have the labels `label_names`, NaN where `source` has none such.

    Attributes:
        source: where the examples come from.
        label_names: the labels wanted, in order.
    """

    source: Described
    label_names: tuple[str, ...]

    @property
    def report(self) -> str:
        """Lines on what is kept and skipped, and which labels are unknown."""
        unknown = ", ".join(self.unknown["labels"])
        return self.source.report + (f"\n  labels unknown here: {unknown}" if unknown else "")

    @property
    def unknown(self) -> dict[str, tuple[str, ...]]:
        """{"labels": names of the labels wanted that no example has}."""
        names = (name for name in self.label_names if name not in self.source.label_names)
        return {"labels": tuple(names)}

    @property
    def fingerprint(self) -> int:
        """A number that tells these examples from others, wherever they lie."""
        picks = np.linspace(0, len(self) - 1, min(len(self), 64)).astype(int)
        return zlib.crc32("\n".join(self.describe(int(i)) for i in picks).encode())

    @property
    def video(self) -> Int[np.ndarray, " n"]:
        """For each example the number of the video, or shot of one, that it is cut from."""
        return self.source.video

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SupportsIndex) -> dict[str, Any]:
        example = self.source[key]
        found = dict(zip(self.source.label_names, example["labels"], strict=True))
        values = [found[name] if name in found else np.nan for name in self.label_names]
        return example | {"labels": np.array(values, np.float32)}

    def describe(self, key: int) -> str:
        """Return where an example comes from, as the source does."""
        return self.source.describe(key)
