"""Whether each part of a stack fits the one before it; opens files, reads no weights.

Latents of one autoencoder and of one size; rates that chain; models that were trained with the
frames given that they are to be given; frames that the upsampler can take.
"""

from collections.abc import Sequence

from vldm_jax.core.errors import InputError
from vldm_jax.sampling.upsampler import Upsampler
from vldm_jax.sampling.windows import BETWEEN
from vldm_jax.stack.plan import CONTEXT, Part, StackPlan, of_part, plan_of
from vldm_jax.stages.denoising import DENOISE
from vldm_jax.stages.origin import fingerprint_of


def make_stack_plan(parts: Sequence[Part], seconds: float) -> StackPlan:
    """Return the plan of a stack whose parts fit each other.

    Args:
        parts: in order.
        seconds: of video, positive.

    Raises:
        InputError: naming the part that does not fit, and what to do.
    """
    plan = plan_of(parts, seconds)
    _check_windows(plan)
    _check_rates(plan)
    for part in plan.parts:
        _ = part.files
    for part in (plan.first, *plan.rounds):
        if part is not None:
            _check_size(part, plan.prediction)
            _check_latents(part, part.stage.space.about()["latents"], plan.prediction)
    if plan.decoder is not None:
        _check_latents(plan.decoder, fingerprint_of(plan.decoder.file), plan.prediction)
    if plan.upsampler is not None:
        _check_upsampler(plan.upsampler, plan)
    return plan


def _check_windows(plan: StackPlan) -> None:
    """Raise unless every video model takes the frames that it is to be given."""
    wanted = [(plan.prediction, {(), (0,), (0, 1)}), *((part, {(0, 4)}) for part in plan.rounds)]
    for part, patterns in wanted:
        trained = {which for _, which in part.stage.config.objective.given}
        if not patterns <= trained:
            raise InputError(
                f"config.parts.{part.model}: its model was trained with the frames "
                f"{sorted(trained)} given (config.objective.given), as {part.kind} it is given "
                f"{sorted(patterns)}: take a config of {part.kind}"
            )
        if part.kind == "interpolation" and part.config.data.num_frames != BETWEEN + 2:
            raise InputError(
                f"config.parts.{part.model}: config.data.num_frames={part.config.data.num_frames}, "
                f"and {BETWEEN} frames are put in each gap: take a model of {BETWEEN + 2} frames"
            )
        if part.kind == "prediction" and part.config.data.num_frames <= CONTEXT:
            raise InputError(
                f"config.parts.{part.model}: config.data.num_frames={part.config.data.num_frames} "
                f"leave no room behind the {CONTEXT} frames that a window is given"
            )
        if (method := part.config.sampling.method) != DENOISE:
            raise InputError(
                f"config.parts.{part.model}: config.sampling.method={method!r} makes pixels, and a "
                f"stack goes on with latents: set it to {DENOISE!r}"
            )


def _check_rates(plan: StackPlan) -> None:
    fps = plan.key_fps
    for part in plan.rounds:
        fps *= BETWEEN + 1
        if not _same_rate(part, fps):
            raise InputError(
                f"config.parts.{part.model}: it makes {part.config.data.fps:g} fps, from the part "
                f"before it come {fps / (BETWEEN + 1):g}, which makes {fps:g}: set the rates of "
                "both parts' configs (data.fps)"
            )


def _same_rate(part: Part, fps: float) -> bool:
    return abs(float(part.config.data.fps) / fps - 1) < 1e-3


def _check_size(part: Part, prediction: Part) -> None:
    one, other = part.config.data, prediction.config.data
    if (one.height, one.width) != (other.height, other.width):
        raise InputError(
            f"config.parts.{part.model}: {one.height}x{one.width}, but {prediction.name} makes "
            f"{other.height}x{other.width}: give both one size"
        )


def _check_latents(part: Part, latents: str, prediction: Part) -> None:
    if latents != prediction.stage.space.about()["latents"]:
        raise InputError(
            f"config.parts.{part.model}: its latents are of another autoencoder than those of "
            f"{prediction.name}: give both the one that they were trained with"
        )


def _check_upsampler(part: Part, plan: StackPlan) -> None:
    """Raise unless the upsampler takes frames of the stack's size, at its rate."""
    if "fps" in part.stage.meaning() and not _same_rate(part, plan.fps):
        raise InputError(
            f"config.parts.{part.model}: its temporal layers know {part.config.data.fps:g} fps, "
            f"the stack makes {plan.fps:g}: give the layers of that rate"
        )
    data = plan.prediction.config.data
    with of_part(part.model):
        maker = part.stage.sampler()
        if isinstance(maker, Upsampler):
            maker.size_of(data.height, data.width)
