"""The parts of a stack fit each other, or are refused by name before anything slow."""

import dataclasses

import pytest
from small_stages import config_of, leave

from vldm_jax.core.errors import InputError
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.plan import of_part


def changed(part, **data):
    config = part.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.update(data)
    return dataclasses.replace(part, config=config)


def test_seconds_become_key_frames_and_frames(parts):
    plan = make_stack_plan(list(parts.values()), 2.0)
    assert (plan.key_fps, plan.fps, plan.frames) == (1.875, 30.0, 60)
    assert [part.config.data.fps for part in plan.rounds] == [7.5, 30.0]
    assert plan.key_frames == 5 and plan.frames_after(2) == 65  # 60 are wanted
    assert make_stack_plan(list(parts.values()), 113 / 30).key_frames == 8  # 8 -> 29 -> 113


def test_a_stack_may_end_early_and_have_no_image_model(parts):
    plan = make_stack_plan([parts["prediction"], parts["interpolation"]], 2.0)
    assert plan.first is None
    short = plan.until("prediction")
    assert (short.fps, short.frames) == (1.875, 4)
    assert short.key_frames == plan.key_frames == 5  # so that the rest can go on from them
    with pytest.raises(InputError, match="no part 'upsample'"):
        plan.until("upsample")


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (("image", "interpolation"), "one prediction"),
        (("prediction", "image"), "in this order"),
        (("prediction", "prediction"), "one prediction"),
        ((), "config.parts has nothing"),
    ],
)
def test_parts_that_make_no_stack_are_refused(parts, kinds, message):
    with pytest.raises(InputError, match=message):
        make_stack_plan([parts[kind] for kind in kinds], 1.0)


def test_a_model_that_was_not_trained_for_its_place_is_named(parts):
    wrong = dataclasses.replace(parts["interpolation"], kind="prediction")
    with pytest.raises(InputError, match="interpolation: its model was trained with the frames"):
        make_stack_plan([wrong], 1.0)


def test_baselines_make_pixels_and_are_no_part(parts):
    config = parts["interpolation"].config.copy_and_resolve_references()
    with config.unlocked():
        config.sampling.given, config.sampling.method = (0, 4), "average"
    wrong = dataclasses.replace(parts["interpolation"], config=config)
    with pytest.raises(InputError, match="interpolation: .*method='average' makes pixels"):
        make_stack_plan([parts["prediction"], wrong], 1.0)


def test_rates_that_do_not_chain_are_refused(parts):
    fast = changed(parts["prediction"], fps=2.5)
    with pytest.raises(InputError, match=r"it makes 7.5 fps, from the part before it come 2.5"):
        make_stack_plan([fast, parts["interpolation"]], 1.0)


def test_another_size_is_refused(parts):
    large = changed(parts["interpolation"], height=16, width=16)
    with pytest.raises(InputError, match="16x16, but prediction makes 8x8"):
        make_stack_plan([parts["prediction"], large], 1.0)


def test_a_stack_with_pixels_ends_where_it_is_told(parts, pixel_parts):
    plan = make_stack_plan([*parts.values(), *pixel_parts.values()], 2.0)
    kinds = ["image", "prediction", *["interpolation"] * 2, "decoder", "upsampler"]
    assert [part.kind for part in plan.parts] == kinds
    assert plan.until("decoder").upsampler is None
    cut = plan.until("interpolation 1")
    assert (len(cut.rounds), cut.decoder, cut.upsampler, cut.fps) == (1, None, None, 7.5)


def test_a_stage_that_is_not_of_the_part_s_kind_is_named(parts, pixel_parts):
    wrong = dataclasses.replace(pixel_parts["upsampler"], kind="decoder")
    with pytest.raises(InputError, match=r"parts.upsampler: a stage of kind 'upsampler' is no dec"):
        make_stack_plan([parts["prediction"], wrong], 1.0)


def test_a_decoder_of_other_latents_is_refused(parts, pixel_parts, tmp_path):
    other = config_of("autoencoder", seed=1)
    leave(other, tmp_path / "other.safetensors", seed=1)
    config = config_of("decoder", model={"init": tmp_path / "other.safetensors"})
    leave(config, tmp_path / "decoder.safetensors")
    wrong = dataclasses.replace(
        pixel_parts["decoder"], config=config, weights=str(tmp_path / "decoder.safetensors")
    )
    with pytest.raises(InputError, match="parts.decoder: its latents are of another autoencoder"):
        make_stack_plan([parts["prediction"], wrong], 1.0)


def test_an_upsampler_of_another_rate_or_size_is_refused(parts, pixel_parts, monkeypatch):
    upsampler = pixel_parts["upsampler"]
    make_stack_plan([parts["prediction"], upsampler], 1.0)  # of images: any rate
    stage = upsampler.stage
    monkeypatch.setattr(stage, "meaning", lambda: {"fps": 30.0})
    with pytest.raises(InputError, match="layers know 7.5 fps, the stack makes 1.875"):
        make_stack_plan([parts["prediction"], upsampler], 1.0)
    monkeypatch.undo()
    monkeypatch.setattr(stage, "sampler", lambda: dataclasses.replace(made, pixels=64))
    made = type(stage).sampler(stage)
    with pytest.raises(InputError, match="parts.upsampler: low-resolution frames of 8x8 become"):
        make_stack_plan([parts["prediction"], upsampler], 1.0)


def test_a_missing_file_is_named_with_its_part(parts, tmp_path):
    gone = dataclasses.replace(parts["prediction"], weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(InputError, match="config.parts.prediction: .*gone.safetensors"):
        make_stack_plan([gone], 1.0)


def test_a_backbone_that_is_gone_or_another_is_said_first(parts, tmp_path):
    """Before any part runs: what it stands on is compared, too."""
    part = parts["prediction"]
    other = config_of("image", model={"autoencoder": part.config.model.autoencoder})
    leave(other, tmp_path / "other.safetensors", seed=1)
    for path, message in (("gone", "gone"), ("other", "another backbone|backbone")):
        config = part.config.copy_and_resolve_references()
        with config.unlocked():
            config.model.backbone = str(tmp_path / f"{path}.safetensors")
        with pytest.raises(InputError, match=f"config.parts.prediction: .*{message}"):
            make_stack_plan([dataclasses.replace(part, config=config)], 1.0)


def test_windows_of_another_length_are_refused(parts):
    config = parts["interpolation"].config
    long = changed(parts["interpolation"], num_frames=9)
    assert config.data.num_frames == 5
    with pytest.raises(InputError, match="num_frames=9, and 3 frames are put in each gap"):
        make_stack_plan([parts["prediction"], long], 1.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(parts, seconds):
    with pytest.raises(InputError, match="--seconds"):
        make_stack_plan(list(parts.values()), seconds)


def test_what_a_stage_says_of_its_flags_is_said_of_the_part_s():
    with pytest.raises(InputError) as caught, of_part("upsample"):
        raise InputError("model.backbone is not set: give it, --config.model.backbone=FILE")
    assert str(caught.value) == (
        "config.parts.upsample: model.backbone is not set: give it, "
        "--config.parts.upsample.overrides=\"('model.backbone=FILE',)\""
    )
    with pytest.raises(InputError, match="^config.parts.a: --config.parts.a.weights: no file"):
        with of_part("a"), of_part("a"):
            raise InputError("--weights: no file")
