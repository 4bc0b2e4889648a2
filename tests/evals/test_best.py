"""The best weights so far: what replaces them, and what no interruption takes away."""

import json
import os
import re

import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.best import Best, distance


def metrics(value: float, name="fvd", floor=100.0, clips=8, steps=16):
    """An evaluation as `evals.record.record` returns it, as far as it is read."""
    figure = {"value": value, "floor": floor, "made_by": {"weights": "abc"}}
    made_with = {"sampling": {"steps": steps}, "diffusion": {}, "seed": 0, "step": 1}
    recipe = {"clips": clips, "samples": made_with}
    return {"recipe_id": f"clips{clips}", "recipe": recipe, "figures": {name: figure}}


def offer(folder, step, found, name="fvd"):
    """Offer weights whose content is their step, as a process that has just started."""
    return Best(folder, name).offer(
        step, found, lambda folder: (folder / "weights").write_text(str(step))
    )


def kept(folder):
    return int((folder / "weights").read_text()), json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("fvd", [300, 200, 250, 210], 200),  # lower
        ("is", [3, 5, 4, 4.5], 5),  # higher
        ("flicker", [90, 20, 108, 150], 108),  # nearer to the floor, 100
    ],
)
def test_a_worse_figure_never_replaces_a_better_one(tmp_path, name, values, best):
    for step, value in enumerate(values, 1):
        offer(tmp_path / "best", step, metrics(value, name), name)
        content, found = kept(tmp_path / "best")
        assert found["step"] == content == 1 + values.index(found["value"])
        seen = [metrics(value, name)["figures"][name] for value in values[:step]]
        assert distance(name, found) == min(distance(name, one) for one in seen)
    assert found["value"] == best
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_the_first_of_equal_ones_stays(tmp_path):
    offer(tmp_path / "best", 1, metrics(200))
    assert "still 200 of step 1" in offer(tmp_path / "best", 2, metrics(200))
    assert kept(tmp_path / "best")[0] == 1


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (metrics(300, clips=9), r"\(clips: 8 and 9\)"),
        (metrics(300, steps=50), r"\(made_with.sampling.steps: 16 and 50\)"),
    ],
)
def test_what_was_found_otherwise_is_not_compared_but_set_aside(tmp_path, other, why):
    offer(tmp_path / "best", 1, metrics(200))
    line = offer(tmp_path / "best", 2, other)
    assert re.search(why, line) and "best_clips8_fvd_00000001" in line
    assert kept(tmp_path / "best")[0] == 2
    assert kept(tmp_path / "best_clips8_fvd_00000001")[0] == 1


def test_another_figure_begins_anew(tmp_path):
    offer(tmp_path / "best", 1, metrics(200))
    line = offer(tmp_path / "best", 2, metrics(90, "flicker"), "flicker")
    assert "figure: fvd and flicker" in line and kept(tmp_path / "best")[0] == 2


def test_a_write_that_fails_leaves_the_best_as_it_was(tmp_path):
    offer(tmp_path / "best", 1, metrics(200))

    def fail(folder):
        (folder / "weights").write_text("2")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        Best(tmp_path / "best", "fvd").offer(2, metrics(100), fail)
    assert kept(tmp_path / "best")[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_kill_between_two_names_loses_nothing(tmp_path):
    """A new folder takes the old one's name in two renames; a kill may come between them."""
    offer(tmp_path / "best", 1, metrics(200))
    os.rename(tmp_path / "best", tmp_path / ".best.0123456789abcdef.old")
    assert "still 200 of step 1" in offer(tmp_path / "best", 2, metrics(250))
    assert kept(tmp_path / "best")[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize("content", ["{}", '{"figure": "fvd", "value": "x", "floor": 1}', "["])
def test_a_folder_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "metrics.json").write_text(content)
    with pytest.raises(InputError, match=r"best/metrics.json"):
        Best(tmp_path / "best", "fvd")
