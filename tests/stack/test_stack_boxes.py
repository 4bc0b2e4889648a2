"""Boxes of the first frame of a stack: placed by a user, kept by every future."""

import dataclasses

import numpy as np
import pytest
from small_stages import config_of, leave

from vldm_jax.conditions.boxes import Boxes
from vldm_jax.core.errors import InputError
from vldm_jax.core.json_files import read_json
from vldm_jax.stack.boxes import parse_boxes
from vldm_jax.stack.fits import make_stack_plan
from vldm_jax.stack.plan import Part, condition_of
from vldm_jax.stack.reel import Reel
from vldm_jax.stack.request import Request
from vldm_jax.stack.run import run_stack

ONE, OTHER = (0.1, 0.5, 0.3, 0.7), (0.6, 0.5, 0.7, 0.6)
SECONDS = 2.0  # 5 key frames


@pytest.fixture(scope="module")
def first(parts, tmp_path_factory):
    """An image model that is told boxes, on the latents of the other parts."""
    path = tmp_path_factory.mktemp("boxes") / "boxes.safetensors"
    autoencoder = parts["image"].config.model.autoencoder
    config = config_of("boxes", model={"autoencoder": autoencoder, "init": None})
    leave(config, path)
    return Part(name="first", kind="image", config=config, weights=str(path))


@pytest.fixture
def plan(parts, first):
    return make_stack_plan([first, parts["prediction"]], SECONDS)


def asking(**fields):
    usual = {"labels": ({"night": 1.0},), "context": None, "futures": 1, "seed": 0}
    return Request(**usual | fields)


def key_frames(plan, out, **fields):
    run_stack(plan, asking(**fields), out)
    reel = Reel(out / "latents" / "prediction")
    return np.asarray(reel.between(0, len(reel)))


@pytest.mark.slow
def test_boxes_are_of_the_first_frame_and_all_futures_begin_with_it(plan, tmp_path):
    one = key_frames(plan, tmp_path / "one", boxes=(ONE, OTHER), futures=2)
    np.testing.assert_array_equal(one[0, 0], one[1, 0])
    assert np.abs(one[0, 1:] - one[1, 1:]).max() > 0.1
    turned = key_frames(plan, tmp_path / "turned", boxes=(OTHER, ONE))
    np.testing.assert_allclose(turned[0, 0], one[0, 0], atol=1e-5)
    unknown = key_frames(plan, tmp_path / "unknown")
    assert np.abs(unknown[0, 0] - one[0, 0]).max() > 1e-4
    about = read_json(tmp_path / "one" / "metadata.json", "metadata")
    assert about["boxes"] == [list(ONE), list(OTHER)]
    assert "boxes" not in read_json(tmp_path / "unknown" / "metadata.json", "metadata")
    with pytest.raises(InputError, match="exists|holds|empty"):
        run_stack(plan, asking(boxes=(ONE,)), tmp_path / "one")


def test_a_part_is_asked_for_the_boxes_and_no_other_is(plan, first, parts):
    told = asking(boxes=(ONE,)).of(first, [0] * 3)
    assert told["boxes"].shape == (3, 32, 4) and (told["labels"][:, 0] == 1).all()
    np.testing.assert_allclose(told["boxes"][:, 0], np.array([ONE] * 3, np.float32))
    assert not asking(boxes=()).of(first, [0])["boxes"].any()
    assert "boxes" not in asking(boxes=(ONE,)).of(parts["prediction"], [0])
    assert (
        condition_of(parts["prediction"], Boxes) is None and condition_of(first, Boxes).most == 32
    )


def test_without_boxes_they_are_unknown_whatever_the_config_of_the_part_asks_for(first):
    assert first.config.sampling.boxes
    assert np.isnan(asking().of(first, [0])["boxes"]).all()
    assert np.isnan(asking(labels=({},)).of(first, [0])["boxes"]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"boxes": ((0.1, 0.5, 1.3, 0.7),)}, "--boxes: the box 0.1,0.5,1.3,0.7 leaves the image"),
        ({"boxes": ((0.1, 0.5, 0.3),)}, "--boxes: the box 0.1,0.5,0.3 has 3 numbers"),
        ({"boxes": (ONE,) * 33}, "--boxes asks for 33 boxes in one image"),
        ({"boxes": (ONE,), "context": np.zeros((1, 8, 8, 3), np.uint8)}, "leave one out"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(plan, tmp_path, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        run_stack(plan, asking(**fields), tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_stack_whose_first_part_takes_no_boxes_refuses_them(parts, tmp_path):
    whole = make_stack_plan([parts["image"], parts["prediction"]], SECONDS)
    with pytest.raises(InputError, match="--boxes: image takes no boxes; let the first part be"):
        run_stack(whole, asking(boxes=()), tmp_path / "out")
    without = dataclasses.replace(whole, first=None)
    with pytest.raises(InputError, match="--boxes: no part takes boxes"):
        asking(boxes=(ONE,)).check(without)


def test_boxes_are_written_as_numbers():
    assert parse_boxes("0.1,0.5, 0.3,0.7;0.6,0.5,0.7,0.6") == (ONE, OTHER)
    assert parse_boxes("none") == () and parse_boxes("") is None and parse_boxes(None) is None
    for text in ("car", "0.1,0.5,,0.7", "0.1,0.5,0.3,0.7;", ";"):
        with pytest.raises(InputError, match="--boxes .*: write X0,Y0,X1,Y1"):
            parse_boxes(text)


def test_boxes_are_read_of_a_file(tmp_path):
    file = tmp_path / "boxes.json"
    file.write_text(f"[{list(ONE)}, {list(OTHER)}]")
    assert parse_boxes(str(file)) == (ONE, OTHER)
    for content, message in (
        ("[1, 2]", "a list of boxes"),
        ("{}", "must be a list"),
        ("[", "JSON"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            parse_boxes(str(file))
    with pytest.raises(InputError, match="no such file"):
        parse_boxes(str(tmp_path / "none.json"))
