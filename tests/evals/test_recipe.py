"""Equal recipes have one name; tables of unequal ones name what is unequal."""

import dataclasses
import json

import numpy as np
from PIL import Image

from vldm_jax.evals.bars import COLOURS, write_bars
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.evals.recipe import differences, recipe_id
from vldm_jax.evals.record import record, scalars
from vldm_jax.evals.report import table
from vldm_jax.evals.sets import Compared, Sets

RECIPE = {
    "clips": 256, "frames": 16, "size": (64, 128), "real_sha256": "a",
    "samples": {"seed": 0, "sha256": "b"},
}  # fmt: skip


def metrics(recipe, value=412.345, **made_by):
    fvd = {"value": value, "interval": [390.0, 431.0], "floor": 96.1, "floor_interval": [90, 99],
           "made_by": {"extractor": "i3d", "filter": "bilinear", **made_by}}  # fmt: skip
    return {"recipe": recipe, "recipe_id": recipe_id(recipe), "figures": {"fvd": fvd}}


def test_a_recipe_that_was_written_and_read_is_the_same():
    again = json.loads(json.dumps(RECIPE))
    assert recipe_id(again) == recipe_id(RECIPE) and differences(again, RECIPE) == []


def test_what_made_the_samples_is_what_is_compared():
    other = {**RECIPE, "samples": {"seed": 1, "guidance": 2.0}}
    assert recipe_id(other) == recipe_id(RECIPE) and differences(other, RECIPE) == []


def test_anything_else_is_a_difference():
    for key, value in {"clips": 255, "size": [64, 64], "real_sha256": "c", "resize": "x"}.items():
        other = {**RECIPE, key: value}
        assert recipe_id(other) != recipe_id(RECIPE)
        (line,) = differences(RECIPE, other)
        assert line.startswith(f"{key}: ")


def test_a_table_has_value_interval_and_floor():
    lines = table([("mine", metrics(RECIPE))]).splitlines()
    assert lines[0] == "| samples | fvd ↓ | clips | recipe |"
    assert "| mine | 412.3 (390 to 431; floor 96.1) | 256 |" in lines[2] and len(lines) == 3


def test_a_table_names_what_was_made_otherwise():
    rows = [
        ("mine", metrics(RECIPE)),
        ("same", metrics(RECIPE, 300.0)),
        ("theirs", metrics({**RECIPE, "clips": 100}, filter="bicubic")),
    ]
    text = table(rows)
    assert "| same | 300" in text and "| theirs (1) |" in text
    assert (
        "(1) theirs was made otherwise: clips: 256 and 100; fvd.filter: bilinear and bicubic"
        in text
    )


def test_a_figure_without_a_floor_is_shown_without_one(tmp_path):
    one = metrics(RECIPE)
    one["figures"]["psnr"] = {
        "value": 31.25, "interval": [30.0, 32.0], "floor": None, "floor_interval": None,
        "made_by": {"extractor": "squared_error"},
    }  # fmt: skip
    assert "| 31.25 (30 to 32; no floor) |" in table([("mine", one)])
    read = json.loads(json.dumps(one))
    assert scalars(read) == {"eval/fvd": 412.345, "eval/fvd_floor": 96.1, "eval/psnr": 31.25}
    write_bars(tmp_path / "bars.png", read["figures"], "both")
    write_bars(tmp_path / "alone.png", {"psnr": read["figures"]["psnr"]}, "one")
    with Image.open(tmp_path / "alone.png") as image:
        pixels = np.asarray(image).reshape(-1, 3)
    colours = {name: (pixels == colour).all(axis=1).sum() for name, colour in COLOURS.items()}
    assert colours["samples"] > 1000 and colours["floor"] < 100


def judged(names, extractors):
    """What is written of the same clips, judged by figures of changed extractors."""
    clips = array_clips(np.random.default_rng(0).integers(0, 255, (6, 4, 8, 8, 3), np.uint8), 8)
    one, two, three = (clips.picked(np.arange(i, i + 2)) for i in (0, 2, 4))
    result = compare(
        {"": Compared(samples=one, real=two, others=three)}, names, extractors=extractors,
        cache=None, seed=0,
    )  # fmt: skip
    sets = Sets(
        samples=one, real=two, others=three, recipe={"clips": 2}, made_with={}, notes=()
    )  # fmt: skip
    return record(sets, result, seed=0)


def test_a_recipe_has_what_judged_and_a_table_names_what_judged_otherwise():
    """Weights, package, settings and revision are in its name, whoever gave the weights."""
    names = ("change", "drift_colour")
    plain = make_extractors(names, {})
    pinned = {"weights": "abc", "package": "net==1"}
    mine = judged(names, plain)
    assert mine["recipe"]["judged_by"]["motion"] == {"revision": 1, "block": 8, "reach": 6}
    assert judged(names, make_extractors(names, {}))["recipe_id"] == mine["recipe_id"]
    for change in (
        {"recipe": pinned}, {"recipe": {**pinned, "package": "net==2"}}, {"revision": 2},
    ):  # fmt: skip
        other = judged(names, plain | {"motion": dataclasses.replace(plain["motion"], **change)})
        assert other["recipe_id"] != mine["recipe_id"]
        key = "revision: 1 and 2" if "revision" in change else "weights: nothing and abc"
        assert f"change.{key}" in table([("mine", mine), ("other", other)])


def test_another_figure_beside_is_another_name_but_nothing_made_otherwise():
    few, more = (judged(names, make_extractors(names, {})) for names in (
        ("change",), ("change", "drift_colour"),
    ))  # fmt: skip
    assert few["recipe_id"] != more["recipe_id"]
    assert "otherwise" not in table([("few", few), ("more", more)])
    assert few["figures"]["change"] == more["figures"]["change"]
