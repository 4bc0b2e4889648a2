"""The parts of a stack, and how many frames each makes: known before anything is slow.

| kind | what it is | config's stage |
|---|---|---|
| image | the first frame | image |
| prediction | key frames, window after window | video, with context frames |
| interpolation | frames between, a round or more | video, with context frames at both ends |
| decoder | pixels, each frame seen with those around it | decoder |
| upsampler | four times the height and width | upsampler or video_upsampler |

A stack has a prediction, before it an image model or none, after it the rest in the table's order.
Without an image model the first window is the prediction's own, no frame given; without a decoder,
latents are decoded by the autoencoder of the prediction.
"""

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ml_collections import ConfigDict

from vldm_jax.conditions import Condition
from vldm_jax.core.assets import SCHEME, is_shipped
from vldm_jax.core.errors import InputError, naming
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.sampling.windows import BETWEEN, interpolated_length
from vldm_jax.stages.asking import made_with
from vldm_jax.stages.base import Stage
from vldm_jax.stages.image import ImageStage
from vldm_jax.stages.reconstructing import ReconstructingStage
from vldm_jax.stages.table import make_stage
from vldm_jax.stages.upsampling import UpsamplingStage
from vldm_jax.stages.video import VideoStage

KINDS: Mapping[str, type[Stage]] = {
    "image": ImageStage,
    "prediction": VideoStage,
    "interpolation": VideoStage,
    "decoder": ReconstructingStage,
    "upsampler": UpsamplingStage,
}
C = TypeVar("C", bound=Condition)
SEVERAL = "interpolation"  # of all other kinds a stack has one part
CONTEXT = 2  # frames that a window goes on from: two show where things move


@contextlib.contextmanager
def of_part(model: str) -> Iterator[None]:
    """Put a part's name before every input error, and its flags in place of those of a stage.

    Raises:
        InputError: naming the part.
    """
    where = f"config.parts.{model}"
    with naming(where):
        try:
            yield
        except InputError as error:
            said = str(error).replace("--weights: ", f"--{where}.weights: ")
            own = f"--{where}.overrides=" + r""" "('\1=\2',)" """.strip()
            said = re.sub(r"--config\.(?!parts\.)([\w.]+)=(\w+)", own, said)
            raise InputError(said) from error


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """A trained model of the stack.

    Attributes:
        name: in the stack's config, and the number of the round if it is one.
        kind: see the table.
        config: of its stage.
        weights: its file.
        rounds: of interpolation; each takes the rate times four.
        number: of the round, from 0.
    """

    name: str
    kind: str
    config: ConfigDict
    weights: str
    rounds: int = 1
    number: int = 0

    @property
    def model(self) -> str:
        """Name in the stack's config, which rounds of one model have in common."""
        return self.name.partition(" ")[0]

    @functools.cached_property
    def stage(self) -> Any:
        """Its stage, of the class that `KINDS` has; raises for what its config lacks."""
        with of_part(self.model):
            stage = make_stage(self.config)
            if not isinstance(stage, KINDS[self.kind]):
                raise InputError(
                    f"a stage of kind {self.config.objective.kind!r} is no {self.kind}: take a "
                    "config of that"
                )
            return stage

    @functools.cached_property
    def file(self) -> WeightsFile:
        """Its weights, found and compared with its config, not read."""
        where = f"config.parts.{self.model}"
        with of_part(self.model):
            if self.weights.startswith(SCHEME) and not is_shipped(self.weights):
                without = "" if self.kind == "prediction" else f", or leave it out, --{where}=None"
                raise InputError(
                    f"{self.weights} does not ship with this version: train it (docs/stack.md) and "
                    f"give its folder, --{where}.weights=WORKDIR{without}"
                )
            return self.stage.trained_file(self.weights, *self.stage.leaves)

    @functools.cached_property
    def files(self) -> dict[str, WeightsFile]:
        """All files that it is made with, found and compared."""
        with of_part(self.model):
            return self.stage.stands_on(self.file)

    def round(self, number: int) -> "Part":
        """Return the part as it runs in a round of interpolation: at that round's rate."""
        config = self.config.copy_and_resolve_references()
        with config.unlocked():
            config.data.fps = float(config.data.fps) * (BETWEEN + 1) ** number
            config.data.more_fps = ()
        name = f"{self.model} {number + 1}"
        return dataclasses.replace(self, name=name, config=config, rounds=1, number=number)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StackPlan:
    """Parts that fit together, and how many frames each makes.

    Attributes:
        first: the image model, if there is one.
        prediction: makes key frames.
        rounds: of interpolation, in order.
        decoder: makes pixels, if the prediction's autoencoder does not.
        upsampler: makes them larger, if there is one.
        seconds: of video.
        key_frames: that the whole stack takes for them.
    """

    first: Part | None
    prediction: Part
    rounds: tuple[Part, ...]
    decoder: Part | None
    upsampler: Part | None
    seconds: float
    key_frames: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, in order."""
        every = (self.first, self.prediction, *self.rounds, self.decoder, self.upsampler)
        return tuple(part for part in every if part is not None)

    @property
    def key_fps(self) -> float:
        """Rate of the key frames."""
        return float(self.prediction.config.data.fps)

    @property
    def fps(self) -> float:
        """Rate of the video."""
        return self.key_fps * (BETWEEN + 1) ** len(self.rounds)

    @property
    def frames(self) -> int:
        """Frames of the video."""
        return frames_of(self.seconds, self.fps)

    def frames_after(self, rounds: int) -> int:
        """Return how many frames there are after so many rounds of interpolation."""
        return interpolated_length(self.key_frames, rounds)

    def until(self, name: str | None) -> "StackPlan":
        """Return the stack that ends with a part, or with the whole if None.

        Its key frames are those of the whole, so that the rest can go on from what it leaves.

        Raises:
            InputError: if there is no such part, or nothing would be left of the video.
        """
        if name is None:
            return self
        names = [part.name for part in self.parts]
        ends = names[names.index(self.prediction.name) :]
        if name not in ends:
            raise InputError(f"--stages: no part {name!r} to end with; there are {ends}")
        kept = set(names[: names.index(name) + 1])
        return dataclasses.replace(
            self,
            rounds=tuple(part for part in self.rounds if part.name in kept),
            **{
                key: part if part is not None and part.name in kept else None
                for key, part in (("decoder", self.decoder), ("upsampler", self.upsampler))
            },
        )


def frames_of(seconds: float, fps: float) -> int:
    """Return the frames of a video of so many seconds, at least one."""
    return max(1, round(seconds * fps))


def plan_of(parts: Sequence[Part], seconds: float) -> StackPlan:
    """Return the plan of parts that have a stack's order; whether they fit is not looked at.

    Args:
        parts: in order.
        seconds: of video, positive.

    Raises:
        InputError: if they make no stack.
    """
    if not 0 < seconds < math.inf:
        raise InputError(f"--seconds {seconds:g} must be more than 0")
    if unknown := [part for part in parts if part.kind not in KINDS]:
        raise InputError(
            f"config.parts.{unknown[0].name}.kind={unknown[0].kind!r}: choose one of "
            f"{', '.join(KINDS)}"
        )
    kinds = [part.kind for part in parts]
    once = [kind for kind in kinds if kind != SEVERAL]
    ordered = sorted(kinds, key=list(KINDS).index) == kinds
    if "prediction" not in kinds or not ordered or len(set(once)) < len(once):
        raise InputError(
            f"config.parts has {', '.join(kinds) or 'nothing'}: a stack is an image model or none, "
            "one prediction, then interpolation, a decoder, an upsampler, or not, in this order"
        )
    one = {part.kind: part for part in parts}
    rounds = [part.round(i) for part in parts if part.kind == SEVERAL for i in range(part.rounds)]
    between = (BETWEEN + 1) ** len(rounds)
    frames = frames_of(seconds, float(one["prediction"].config.data.fps) * between)
    return StackPlan(
        first=one.get("image"), prediction=one["prediction"], rounds=tuple(rounds),
        decoder=one.get("decoder"), upsampler=one.get("upsampler"), seconds=seconds,
        key_frames=math.ceil((frames - 1) / between) + 1,
    )  # fmt: skip


def about(plan: StackPlan) -> dict[str, Any]:
    """Return what makes the video, as JSON values."""
    return {
        part.name: {
            "kind": part.kind,
            "frames": part.config.data.num_frames,
            **made_with(part.stage.conditions, part.config, part.files),
            "temporal": _temporal(part),
        }
        for part in plan.parts
    }


def condition_of(part: Part, kind: type[C]) -> C | None:
    """Return the condition of a kind by which a part is told something; None if it is not."""
    return next((c for c in part.stage.conditions if isinstance(c, kind)), None)


def _temporal(part: Part) -> dict[str, Any]:
    """Return the settings of temporal layers: some change how weights are run."""
    model = part.config.model
    return model.temporal.to_dict() if "temporal" in model else {}


def read(part: Part) -> tuple[Any, Mapping[str, WeightsFile]]:
    """Return the parameters of a part, and the files that they are of."""
    with of_part(part.model):
        return part.stage.load(part.weights)
