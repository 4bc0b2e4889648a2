"""Agreement of clips with their labels: what the figures are, and who has the labels."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from vldm_jax.core.errors import InputError
from vldm_jax.data.write import write_video
from vldm_jax.evals.agreement import cars_apart, cars_order, night_agreement, ranks
from vldm_jax.evals.clips import array_clips, folder_clips
from vldm_jax.evals.compare import compare
from vldm_jax.evals.extract import Extractor
from vldm_jax.evals.labels import Labels, label_column, with_label
from vldm_jax.evals.sets import Compared

FIGURES = ("agreement_night", "agreement_cars", "agreement_cars_order")


def rows_of(seen, label, frames=3):
    """Rows of clips whose frames are all alike: (cars, night) of each, and its label."""
    rows = np.repeat(np.array(seen, np.float64)[:, None], frames, axis=1)
    return with_label(rows, np.array(label, np.float64))


def test_the_share_of_clips_whose_night_is_the_asked_one():
    seen = [[0, 0.9], [0, 0.2], [0, 0.6], [0, 0.1]]
    assert night_agreement(rows_of(seen, [1, 0, 0, 0])) == 0.75
    flickering = rows_of([[0, 0.9]], [1])
    flickering[0, 0, 1] = 0.0  # one frame of three says day
    assert night_agreement(flickering) == 1.0


def test_cars_are_counted_as_the_world_counts_them():
    rows = with_label(np.array([[[2, 0], [3, 0]], [[5, 0], [5, 0]]], float), np.array([3.0, 4.0]))
    assert cars_apart(rows) == 0.5  # 2.5 is 3, as in the world; 5 is one from 4


@pytest.mark.parametrize("seed", range(3))
def test_the_order_is_spearmans_of_scipy(seed):
    random = np.random.default_rng(seed)
    label, seen = random.integers(0, 6, (2, 20))  # with many ties
    rows = rows_of(np.stack([seen, seen], -1), label)
    assert cars_order(rows) == pytest.approx(spearmanr(seen, label).statistic, abs=1e-12)


def test_the_order_of_what_is_all_the_same_says_nothing():
    assert cars_order(rows_of([[4, 0]] * 5, [1, 2, 3, 4, 5])) == 0
    np.testing.assert_array_equal(ranks(np.array([3.0, 1, 3, 2])), [2.5, 0, 2.5, 1])


# Clips and their labels.


def reads_corner(weights=None):
    """A detector that reads cars and night off the first pixel."""

    def compute(videos):
        return videos[:, :, 0, 0, :2] / np.array([1, 255])

    return Extractor(name="detector", compute=compute, recipe={"of": "corner"})


def labelled(count, seed, names=("night", "cars")):
    """Clips that show what their labels say."""
    random = np.random.default_rng(seed)
    values = np.stack([random.integers(0, 2, count), random.integers(0, 9, count)], 1)
    videos = random.integers(0, 255, (count, 2, 4, 4, 3)).astype(np.uint8)
    videos[:, :, 0, 0, 0] = values[:, None, 1]
    videos[:, :, 0, 0, 1] = 255 * values[:, None, 0]
    values = values.astype(np.float32)
    labels = Labels(names=names, of=lambda i: values[i])
    return dataclasses.replace(array_clips(videos, 8), labels=labels)


def found(samples, real, others, names=FIGURES):
    result = compare(
        {"": Compared(samples=samples, real=real, others=others)},
        names,
        extractors={"detector": reads_corner()},
        cache=None,
        seed=0,
    )
    return {name: (one["value"], one["floor"]) for name, one in result.figures.items()}


def test_clips_that_show_their_labels_agree_and_with_others_labels_they_do_not():
    samples, real, others = (labelled(40, seed) for seed in range(3))
    assert found(samples, real, others) == {
        "agreement_night": (1, 1), "agreement_cars": (0, 0), "agreement_cars_order": (1, 1),
    }  # fmt: skip
    order = np.random.default_rng(5).permutation(40)
    shuffled = dataclasses.replace(samples, labels=samples.labels.picked(order))
    values = {name: value for name, (value, _) in found(shuffled, real, others).items()}
    assert values["agreement_night"] < 0.75
    assert values["agreement_cars"] > 1.5 and abs(values["agreement_cars_order"]) < 0.4


def test_clips_that_are_picked_take_their_labels_along():
    clips = labelled(10, 0)
    picked = clips.picked(np.array([7, 2, 5])).picked(np.array([2, 0]))
    np.testing.assert_array_equal(picked.labels.of(0), clips.labels.of(5))
    np.testing.assert_array_equal(picked.labels.of(1), clips.labels.of(7))
    np.testing.assert_array_equal(picked.read(1), clips.read(7))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "agreement_night needs the label 'night', which the samples do not have: give lab"),
        (Labels(names=("cars",), of=lambda i: np.ones(1)), "which the samples do not have"),
        (
            Labels(names=("night", "cars"), of=lambda i: np.array([np.nan, 1][: i + 1] * 2)[:2]),
            "'night', which is unknown of 6 of 6 samples",
        ),
    ],
)
def test_clips_without_the_label_are_refused_in_one_line(labels, message):
    samples = dataclasses.replace(labelled(6, 0), labels=labels)
    with pytest.raises(InputError, match=message):
        found(samples, labelled(6, 1), labelled(6, 2))
    assert "flicker" not in found(labelled(6, 0), labelled(6, 1), labelled(6, 2))


def test_a_label_that_no_figure_needs_may_be_missing():
    cars = Labels(names=("cars",), of=lambda i: np.array([i]))
    assert label_column(cars, "cars", 3, figure="x", what="clips").tolist() == [0, 1, 2]


def test_a_folder_has_its_labels_by_its_videos(tmp_path):
    random = np.random.default_rng(0)
    values = {}
    for number in range(4):
        shade = np.full((8, 16, 16, 3), 60 * number + 20) + random.integers(0, 9, (8, 16, 16, 3))
        write_video(tmp_path / f"{number}.mp4", np.uint8(shade), 8)
        values[f"{number}.mp4"] = [number % 2, number]
    content = {"names": ["night", "cars"], "clips": values}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    clips = folder_clips(
        tmp_path, shape=(4, 16, 16), fps=8, windows="all", seed=3, index=tmp_path / "scan.json"
    )
    assert clips.count == 8 and clips.labels.names == ("night", "cars")
    for i in range(8):
        assert clips.labels.of(i)[1] == round((clips.read(i).mean() - 24) / 60)
