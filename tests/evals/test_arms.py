"""The table of arms: what it says of figures that are known."""

import json

import numpy as np
from PIL import Image
from scipy import stats

from vldm_jax.evals.arms import write_table


def metrics(fvd, flicker, clips=64, weights="a"):
    values = {"fvd": (fvd, 410.0), "flicker": (flicker, 0.012)}
    made_by = {"made_by": {"weights": weights}}
    figures = {
        name: {"value": value, "floor": floor, **made_by} for name, (value, floor) in values.items()
    }
    return {"figures": figures, "recipe": {"clips": clips, "samples": {"seed": fvd}}}


def write(out, found):
    published = {"ours": 534.17, "other": 1155.1}
    write_table(out, found, says="A table", figure="fvd", first="ours", published=published)


FOUND = {
    "ours": {0: metrics(800.0, 0.016), 1: metrics(820.0, 0.018)},
    "other": {0: metrics(1200.0, 0.05), 1: metrics(1220.5, 0.07)},
}


def test_means_intervals_floors_and_orderings_are_told(tmp_path):
    write(tmp_path, FOUND)
    text = (tmp_path / "table.md").read_text()
    assert "| arm | paper's fvd | fvd ↓ | flicker → floor | seeds |" in text
    # 810 +- 12.706 * 14.142 / sqrt(2)
    assert "| ours | 534.2 | 810 (682.9 to 937.1; floor 410) | 0.017 " in text
    assert "- ours before other: holds, in 2 of 2 seeds; 400.2 apart (397.1 to 403.4)" in text
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["values"]["other"]["fvd"] == {"0": 1200.0, "1": 1220.5}
    assert table["floors"] == {"fvd": 410.0, "flicker": 0.012}
    assert table["notes"] == [] and list(table["orderings"]) == ["other"]
    found = table["orderings"]["other"]
    assert (found["verdict"], found["pairs"], found["seeds"]) == ("holds", 2, 2)
    expected = stats.ttest_rel([1200.0, 1220.5], [800.0, 820.0]).confidence_interval(0.95)
    np.testing.assert_allclose(found["difference"]["interval"], (expected.low, expected.high))


def test_arms_are_told_as_far_as_they_are_there(tmp_path):
    write(tmp_path, {"ours": {}, "other": {}})
    assert not list(tmp_path.iterdir())
    write(tmp_path, {"ours": {0: metrics(800.0, 0.016)}, "other": {}})
    text = (tmp_path / "table.md").read_text()
    assert "| ours | 534.2 | 800 (floor 410) | 0.016 (floor 0.012) | 1 |" in text
    assert "other" not in text
    write(tmp_path, {"ours": {}, "other": {1: metrics(1200.0, 0.05)}})
    assert "before" not in (tmp_path / "table.md").read_text()


def test_only_seeds_that_both_have_are_compared(tmp_path):
    write(tmp_path, {"ours": FOUND["ours"], "other": {1: FOUND["other"][1]}})
    text = (tmp_path / "table.md").read_text()
    assert "likely, in 1 of 1 seeds; 400.5 apart\n" in text  # one seed has no interval
    assert "| other | 1155 | 1220 (floor 410) |" in text
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["means"]["other"]["fvd"] == {"value": 1220.5, "interval": None}


def test_what_was_judged_otherwise_is_named(tmp_path):
    write(tmp_path, {"ours": FOUND["ours"], "other": {0: metrics(1200.0, 0.05, clips=32)}})
    assert (
        "other, seed 0 was judged otherwise: clips: 64 and 32"
        in (tmp_path / "table.md").read_text()
    )


def test_figures_of_other_networks_are_named_where_recipes_are_equal(tmp_path):
    """Packages carry the weights of most networks, so no recipe has them: the figure has."""
    other = {0: metrics(1200.0, 0.05, weights="b")}
    write(tmp_path, {"ours": FOUND["ours"], "other": other})
    line = "other, seed 0 was judged otherwise: fvd.weights: a and b"
    assert line in (tmp_path / "table.md").read_text()


def test_bars_are_as_long_as_the_means(tmp_path):
    write(tmp_path, FOUND)
    picture = np.asarray(Image.open(tmp_path / "table.png").convert("RGB")).astype(int)
    bar = (picture == (170, 195, 225)).all(axis=-1)
    lengths = [bar[start : start + 44].any(axis=0).sum() for start in (58, 102)]
    np.testing.assert_allclose(lengths[1] / lengths[0], 1210.25 / 810.0, rtol=0.03)
