"""The sets of an evaluation: samples, real clips, and other real clips for the floor."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from vldm_jax.core.words import counted, listed
from vldm_jax.data.faults import shown
from vldm_jax.evals.clips import ClipSet
from vldm_jax.evals.companions import SPARE


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Compared:
    """What a figure is taken of.

    Attributes:
        samples: what is judged.
        real: what they are compared with, as many; None if a figure has no such thing.
        others: real clips that stand in for samples in the floor; None if none can.
    """

    samples: ClipSet
    real: ClipSet | None = None
    others: ClipSet | None = None

    @property
    def by_name(self) -> dict[str, ClipSet]:
        """Those that there are, by their names."""
        found = {"samples": self.samples, "real": self.real, "others": self.others}
        return {name: clips for name, clips in found.items() if clips is not None}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sets:
    """What an evaluation compares.

    Attributes:
        samples: what is judged.
        real: what it is compared with, of one kind with the samples and as many; None where no
            figure compares with it.
        others: other real clips, as many, which stand in for samples in the floor.
        recipe: how the clips were made, as JSON values.
        made_with: what made the samples, as JSON values.
        notes: what a person should know, a line each.
        beside: the sets of the clips that have something beside them, by what that is.
    """

    samples: ClipSet
    real: ClipSet | None
    others: ClipSet | None
    recipe: Mapping[str, Any]
    made_with: Mapping[str, Any]
    notes: tuple[str, ...]
    beside: Mapping[str, Compared] = dataclasses.field(default_factory=dict)

    @property
    def compared(self) -> dict[str, Compared]:
        """All of them by what the clips have beside them, "" for nothing."""
        plain = Compared(samples=self.samples, real=self.real, others=self.others)
        return {"": plain, **self.beside}

    @property
    def left_out(self) -> dict[str, dict[str, list[str]]]:
        """{set: {reason: names of videos}} of what gave no clip, or has nothing beside it."""
        plain = {"real": self.real, "samples": self.samples}
        sets = {**plain, **{name: one.samples for name, one in self.beside.items()}}
        return {
            name: {reason: list(names) for reason, names in clips.left_out.items()}
            for name, clips in sets.items()
            if clips is not None
        }


def left_out_lines(clips: ClipSet) -> Iterator[str]:
    """Yield a line on each reason for which videos gave no clip, with the first of their names."""
    for reason, names in clips.left_out.items():
        first = listed([shown(name) for name in names])
        if reason == SPARE:
            has = "reference has" if len(names) == 1 else "references have"
            yield f"{len(names)} {has} no sample of that name: {first}"
        else:
            yield f"{counted(len(names), 'video')} left out: {reason} ({first})"
