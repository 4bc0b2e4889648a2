"""The parts of a stack, and whether each fits the one before it: known before anything is slow.

| kind | what it is | config's stage |
|---|---|---|
| image | the first frame | image |
| prediction | key frames, window after window | video, with context frames |
| interpolation | frames between, a round or more | video, with context frames at both ends |

A stack has a prediction, before it an image model or none, after it the rest in the table's order.
Without an image model the first window is the prediction's own, no frame given.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from vldm_jax.core.errors import InputError, naming
from vldm_jax.interop.weights import WeightsFile
from vldm_jax.sampling.windows import BETWEEN, interpolated_length
from vldm_jax.stages.denoising import DenoisingStage
from vldm_jax.stages.table import make_stage
from vldm_jax.stages.video import DENOISE, VideoStage

KINDS = ("image", "prediction", "interpolation")
CONTEXT = 2  # frames that a window goes on from: two show where things move


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """A trained model of the stack.

    Attributes:
        name: in the stack's config.
        kind: see the table.
        config: of its stage.
        weights: its file.
        rounds: of interpolation; each takes the rate times four.
    """

    name: str
    kind: str
    config: ConfigDict
    weights: str
    rounds: int = 1

    @functools.cached_property
    def stage(self) -> DenoisingStage:
        """Its stage; raises for what its config lacks."""
        with naming(f"config.parts.{self.name}"):
            stage = make_stage(self.config)
            if not isinstance(stage, DenoisingStage):
                raise InputError(f"a stage of kind {self.config.objective.kind!r} makes no latents")
            return stage

    @functools.cached_property
    def file(self) -> WeightsFile:
        """Its weights, found and compared with its config, not read."""
        with naming(f"config.parts.{self.name}"):
            return self.stage.trained_file(self.weights, *self.stage.leaves)

    def round(self, number: int) -> "Part":
        """Return the part as it runs in a round of interpolation: at that round's rate."""
        config = self.config.copy_and_resolve_references()
        with config.unlocked():
            config.data.fps = float(config.data.fps) * (BETWEEN + 1) ** number
            config.data.more_fps = ()
        return dataclasses.replace(self, name=f"{self.name} {number + 1}", config=config, rounds=1)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class StackPlan:
    """Parts that fit together, and how many frames each makes.

    Attributes:
        first: the image model, if there is one.
        prediction: makes key frames.
        rounds: of interpolation, in order.
        seconds: of video.
    """

    first: Part | None
    prediction: Part
    rounds: tuple[Part, ...]
    seconds: float

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, in order."""
        return (*((self.first,) if self.first else ()), self.prediction, *self.rounds)

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
        return max(1, round(self.seconds * self.fps))

    @property
    def key_frames(self) -> int:
        """Key frames that the video takes."""
        between = (BETWEEN + 1) ** len(self.rounds)
        return math.ceil((self.frames - 1) / between) + 1

    def frames_after(self, rounds: int) -> int:
        """Return how many frames there are after so many rounds of interpolation."""
        return interpolated_length(self.key_frames, rounds)

    def until(self, name: str | None) -> "StackPlan":
        """Return the stack that ends with a part, or with the whole if None.

        Raises:
            InputError: if there is no such part, or nothing would be left of the video.
        """
        if name is None:
            return self
        names = [self.prediction.name, *(part.name for part in self.rounds)]
        if name not in names:
            raise InputError(f"--stages: no part {name!r} to end with; there are {names}")
        return dataclasses.replace(self, rounds=self.rounds[: names.index(name)])


def make_stack_plan(parts: Sequence[Part], seconds: float) -> StackPlan:
    """Return the plan of a stack; opens files, reads no weights, touches no device.

    Args:
        parts: in order.
        seconds: of video, positive.

    Raises:
        InputError: naming the part that does not fit, and what to do.
    """
    if not 0 < seconds < math.inf:
        raise InputError(f"--seconds {seconds:g} must be more than 0")
    kinds = [part.kind for part in parts]
    if unknown := [part for part in parts if part.kind not in KINDS]:
        raise InputError(
            f"config.parts.{unknown[0].name}.kind={unknown[0].kind!r}: choose one of {KINDS}"
        )
    if kinds.count("prediction") != 1 or sorted(kinds, key=KINDS.index) != kinds:
        raise InputError(
            f"config.parts has {', '.join(kinds) or 'nothing'}: a stack is at most one image model,"
            " one prediction, then interpolation, in this order"
        )
    if kinds.count("image") > 1:
        raise InputError("config.parts has more than one image model: leave one")
    of = {kind: [part for part in parts if part.kind == kind] for kind in KINDS}
    rounds = [part.round(i) for part in of["interpolation"] for i in range(part.rounds)]
    plan = StackPlan(
        first=next(iter(of["image"]), None), prediction=of["prediction"][0],
        rounds=tuple(rounds), seconds=seconds,
    )  # fmt: skip
    _check_windows(plan)
    _check_rates(plan)
    for part in plan.parts:
        _ = part.file
        _check_fits(part, plan.prediction)
    return plan


def _check_windows(plan: StackPlan) -> None:
    """Raise unless every video model takes the frames that it is to be given."""
    wanted = [(plan.prediction, {(), (0,), (0, 1)}), *((part, {(0, 4)}) for part in plan.rounds)]
    for part, patterns in wanted:
        trained = {which for _, which in part.config.objective.get("given", ())}
        if not isinstance(part.stage, VideoStage) or not patterns <= trained:
            raise InputError(
                f"config.parts.{part.name}: its model was trained with the frames "
                f"{sorted(trained)} given (config.objective.given), as {part.kind} it is given "
                f"{sorted(patterns)}: take a config of {part.kind}"
            )
        if (method := part.config.sampling.method) != DENOISE:
            raise InputError(
                f"config.parts.{part.name}: config.sampling.method={method!r} makes "
                f"pixels, and a stack goes on with latents: set it to {DENOISE!r}"
            )


def _check_rates(plan: StackPlan) -> None:
    fps = plan.key_fps
    for part in plan.rounds:
        fps *= BETWEEN + 1
        if abs(float(part.config.data.fps) / fps - 1) > 1e-3:
            raise InputError(
                f"config.parts.{part.name}: it makes {part.config.data.fps:g} fps, from the part "
                f"before it come {fps / (BETWEEN + 1):g}, which makes {fps:g}: set the rates of "
                "both parts' configs (data.fps)"
            )


def _check_fits(part: Part, prediction: Part) -> None:
    """Raise unless a part has size and latents of the prediction."""
    one, other = part.config.data, prediction.config.data
    if (one.height, one.width) != (other.height, other.width):
        raise InputError(
            f"config.parts.{part.name}: {one.height}x{one.width}, but {prediction.name} makes "
            f"{other.height}x{other.width}: give both one size"
        )
    here, there = (p.stage.space.about()["latents"] for p in (part, prediction))
    if here != there:
        raise InputError(
            f"config.parts.{part.name}: its latents are of another autoencoder than those of "
            f"{prediction.name}: give both the one that they were trained with"
        )


def about(plan: StackPlan) -> dict[str, Any]:
    """Return what makes the video, as JSON values."""
    return {
        part.name: {
            "kind": part.kind,
            "weights_sha256": part.file.sha256,
            "fps": float(part.config.data.fps),
            "sampling": part.config.sampling.to_dict(),
            "diffusion": part.config.diffusion.to_dict(),
        }
        for part in plan.parts
    }


def read(part: Part) -> tuple[Any, Mapping[str, WeightsFile]]:
    """Return the parameters of a part, and the files that they are of."""
    with naming(f"config.parts.{part.name}"):
        return part.stage.load(part.weights)
