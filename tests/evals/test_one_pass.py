"""All extractors see a clip in one pass: it is read once, and few clips are in memory at a time."""

import collections
import gc
import weakref

import numpy as np
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.evals.clips import ClipSet, array_clips
from vldm_jax.evals.compare import compare
from vldm_jax.evals.extract import Extractor, extract_all
from vldm_jax.evals.sets import Compared

SHAPE = (2, 4, 4)


def clip_of(number):
    return np.random.default_rng(number).integers(0, 256, (*SHAPE, 3), np.uint8)


def counted(count):
    """A set, and how often each of its clips was read."""
    reads = collections.Counter()

    def read(number):
        reads[number] += 1
        return clip_of(number)

    return ClipSet(read=read, describe="clip {}".format, count=count, fps=8.0, shape=SHAPE), reads


def means(name, batch=4, **more):
    """Means of a clip's frames: three colours, and all."""

    def compute(videos, *told):
        found = videos.mean(axis=(2, 3)).astype(np.float32)
        return np.concatenate([found, found.mean(axis=-1, keepdims=True)], axis=-1)

    return Extractor(name=name, recipe={"of": name}, batch=batch, compute=compute, **more)


def test_a_clip_is_read_once_for_all_extractors_and_sets():
    clips, reads = counted(9)
    one, two = clips.picked(np.arange(6)), clips.picked(np.asarray([8, 4, 2, 0]))
    asked = [(one, [means("a"), means("b")]), (two.picked(np.asarray([3, 1])), [means("a")])]
    first, second = extract_all(asked, cache=None)
    assert reads == {number: 1 for number in (0, 1, 2, 3, 4, 5)}
    np.testing.assert_array_equal(second["a"].rows, first["a"].rows[[0, 4]])
    np.testing.assert_array_equal(first["b"].rows, first["a"].rows)
    assert first["a"].digests[4] == second["a"].digests[1]


def test_two_sets_of_the_same_numbers_are_not_one():
    both = [(array_clips(clip_of(seed)[None], 8), [means("a")]) for seed in (0, 1)]
    first, second = extract_all(both, cache=None)
    assert (first["a"].rows != second["a"].rows).all()


def test_figures_of_several_kinds_read_a_clip_once():
    clips, reads = counted(12)
    told = clips.with_beside("caption", lambda i: f"text {i}")
    extractors = {"motion": means("motion"), "clip": means("clip", beside="caption")}
    parts = [clips.picked(np.arange(first, first + 4)) for first in (0, 4, 8)]
    compared = {
        "": Compared(samples=parts[0], real=parts[1], others=parts[2]),
        "caption": Compared(samples=told.picked(np.arange(6))),
    }
    names = ("change", "clipsim")
    found = compare(compared, names, extractors=extractors, cache=None, seed=0)
    assert set(reads.values()) == {1} and len(reads) == 12
    assert found.figures["clipsim"]["clips"] == 6 and found.figures["change"]["clips"] == 4


def test_only_what_is_not_known_is_computed(tmp_path):
    clips, _ = counted(6)
    (known,) = extract_all([(clips, [means("a")])], cache=tmp_path)
    seen = []

    def count(videos):
        seen.append(len(videos))
        raise AssertionError("these numbers are there already")

    a = Extractor(name="a", recipe={"of": "a"}, batch=4, compute=count)
    (found,) = extract_all([(clips, [a, means("b")])], cache=tmp_path)
    assert not seen and (found["a"].recalled, found["b"].recalled) == (6, 0)
    np.testing.assert_array_equal(found["a"].rows, known["a"].rows)


def test_what_is_beside_a_clip_is_part_of_what_its_numbers_are_kept_by(tmp_path):
    def lengths(videos, texts):
        return np.asarray([[[len(text)]] for text in texts], np.float32)

    clips, _ = counted(5)
    spoken = Extractor(name="said", compute=lengths, recipe={}, batch=2, beside="caption")
    for word, recalled in (("a", 0), ("abc", 0), ("a", 5)):
        told = clips.with_beside("caption", lambda i, word=word: word * (i + 1))
        (found,) = extract_all([(told, [spoken])], cache=tmp_path)
        expected = len(word) * np.arange(1, 6)
        np.testing.assert_array_equal(found["said"].rows[:, 0, 0], expected)
        assert found["said"].recalled == recalled and len(set(found["said"].beside)) == 5


def most_alive(count):
    """The largest number of clips that exist at once while so many are judged."""
    alive, most = set(), 0

    def read(number):
        nonlocal most
        clip = clip_of(number)
        alive.add(number)
        weakref.finalize(clip, alive.discard, number)
        most = max(most, len(alive))
        return clip

    clips = ClipSet(read=read, describe=str, count=count, fps=8.0, shape=SHAPE)
    gc.collect()
    extract_all([(clips, [means("a", 4), means("b", 7)])], cache=None)
    return most


def test_memory_is_flat_in_the_number_of_clips():
    assert most_alive(50) == most_alive(500) <= 4 + 7


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros((2, 4, 5, 3), np.uint8), r"clip 1 is \(2, 4, 5, 3\) .* its set \(2, 4, 4, 3\)"),
        (np.zeros((*SHAPE, 3), np.float32), "clip 1 is float32: give frames as uint8"),
        (np.full((*SHAPE, 3), np.nan), "clip 1 is float64, with values that are not finite"),
    ],
)
def test_a_clip_that_is_not_what_its_set_says_is_named(clip, message):
    read = [clip_of(0), clip].__getitem__
    clips = ClipSet(read=read, describe="clip {}".format, count=2, fps=8.0, shape=SHAPE)
    with pytest.raises(InputError, match=message):
        extract_all([(clips, [means("a")])], cache=None)


def test_arrays_of_other_values_than_bytes_are_refused():
    videos = np.zeros((3, *SHAPE, 3), np.float32)
    with pytest.raises(InputError, match="clip 0 is float32: give frames as uint8"):
        array_clips(videos, 8)
    videos[2, 1] = np.nan
    with pytest.raises(InputError, match="clip 2 is float32, with values that are not finite"):
        array_clips(videos, 8)
