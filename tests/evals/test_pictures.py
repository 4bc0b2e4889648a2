"""What the pictures of an evaluation say: axes with round ticks, both ends of the samples."""

import numpy as np
import pytest
from PIL import Image

from vldm_jax.evals import ends
from vldm_jax.evals.bars import AXIS, COLOURS, FLOOR, LEFT, RIGHT, TOP, WIDTH, scale_of, write_bars
from vldm_jax.evals.clips import array_clips
from vldm_jax.evals.compare import compare, make_extractors
from vldm_jax.evals.labels import Labels
from vldm_jax.evals.sets import Compared, Sets


@pytest.mark.parametrize(
    ("numbers", "ticks"),
    [
        ([806.0, 972.0, 410.0], [0, 500, 1000]),
        ([128.0, 200.0, -23.0], [-100, 0, 100, 200]),
        ([0.0168, 0.0188], [0, 0.005, 0.01, 0.015, 0.02]),
        ([0.0], [0, 0.5, 1]),
        ([-3.0, -1.0], [-3, -2, -1, 0]),
    ],
)
def test_an_axis_has_round_ticks_and_room_for_all(numbers, ticks):
    scale = scale_of(numbers)
    np.testing.assert_allclose(scale.ticks, ticks, atol=1e-12)
    assert scale.low <= min(numbers) and max(numbers) <= scale.high


@pytest.mark.parametrize(("name", "value"), [("fvd", 800.0), ("flicker", 0.016)])
def test_the_floor_is_marked_where_its_bar_ends(tmp_path, name, value):
    floor = value / 2
    found = {"value": value, "interval": [value] * 2, "floor": floor, "floor_interval": [floor] * 2}
    write_bars(tmp_path / "bars.png", {name: found}, "one")
    with Image.open(tmp_path / "bars.png") as image:
        pixels = np.asarray(image)[TOP : TOP + AXIS - 1, LEFT : WIDTH - RIGHT + 1]  # no text
    rows, columns = ((pixels == FLOOR).all(axis=2).any(axis=axis) for axis in (1, 0))
    marks = np.flatnonzero(columns)
    assert 2 <= len(marks) <= 3 and rows.sum() > 20  # dashed
    grey = np.flatnonzero((pixels == COLOURS["floor"]).all(axis=2).any(axis=0))
    blue = np.flatnonzero((pixels == COLOURS["samples"]).all(axis=2).any(axis=0))
    assert abs(grey.max() - marks.mean()) < 3
    assert blue.max() - blue.min() == pytest.approx(2 * (grey.max() - grey.min()), abs=6)


def test_equal_is_no_bar(tmp_path):
    equal = {"value": "equal", "interval": ["equal"] * 2, "floor": None, "floor_interval": None}
    write_bars(tmp_path / "bars.png", {"psnr": equal}, "one")
    with Image.open(tmp_path / "bars.png") as image:
        assert not (np.asarray(image) == COLOURS["samples"]).all(axis=2).any()


# Both ends.


def grey(*values):
    """Clips of one brightness each, which flicker by a tenth of it."""
    clips = np.empty((len(values), 4, 16, 16, 3), np.uint8)
    for clip, value in zip(clips, values, strict=True):
        clip[:] = value
        clip[1::2] += np.uint8(value // 10)
    return array_clips(clips, 8)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw the ends of an evaluation; return rows, labels and headings."""
    seen = {}

    def sheet(path, rows, labels, *, headings, scale):
        seen.update(rows=[int(row[0, 0, 0, 0]) for row in rows], labels=labels, headings=headings)

    monkeypatch.setattr(ends, "write_contact_sheet", sheet)

    def draw(compared, names):
        extractors = make_extractors(names, {})
        result = compare(compared, names, extractors=extractors, cache=None, seed=0)
        plain = compared[""] if "" in compared else Compared(samples=grey(10))
        beside = {kind: one for kind, one in compared.items() if kind}
        sets = Sets(
            samples=plain.samples, real=plain.real, others=plain.others, recipe={}, made_with={},
            notes=(), beside=beside,
        )  # fmt: skip
        ends.write_ends(tmp_path / "ends.png", sets, result)
        return seen

    return draw


def test_both_ends_have_their_nearest_real_clips_and_labels(drawn):
    samples, real = grey(100, 200, 60), grey(60, 110, 20)
    labels = Labels(names=("night",), of=lambda i: np.float32([i]))
    samples = samples.picked(np.arange(3))
    object.__setattr__(samples, "labels", labels)
    seen = drawn({"": Compared(samples=samples, real=real)}, ("flicker", "change"))
    assert seen["headings"][0].startswith("BEST: most like real clips, by the mean distance to")
    assert seen["headings"][4].startswith("WORST: least like real clips")
    assert seen["rows"][-2:] == [200, 110]  # the brightest sample, and the brightest real clip
    assert set(seen["rows"][0:4:2]) == {100, 60} and len(seen["rows"]) == 6
    assert seen["labels"][-2].startswith("1. clip 1  night 1: ")
    assert seen["labels"][-1] == "    nearest real clip: clip 1"


def test_pairs_are_ordered_by_their_figure_beside_their_originals(drawn):
    samples, originals = grey(100, 200, 60), (105, 200, 100)
    paired = samples.with_beside("reference", lambda i: grey(originals[i]).read(0))
    seen = drawn({"reference": Compared(samples=paired)}, ("psnr",))
    assert seen["rows"] == [200, 200, 100, 105, 60, 100]
    assert seen["labels"][0] == "1. clip 1: equal" and seen["labels"][1] == "    its original"
    assert seen["labels"][2].endswith(" dB")
    assert seen["headings"][0].startswith("BEST: highest psnr, peak signal to noise")
    assert seen["headings"][4].startswith("WORST: lowest psnr")
