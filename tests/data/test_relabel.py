import numpy as np
import pytest

from vldm_jax.data.relabel import RelabelledSource


class Two:
    """Two examples with labels (cars, night)."""

    report = "two clips"
    label_names = ("cars", "night")
    video = np.array([0, 1])

    def __len__(self):
        return 2

    def __getitem__(self, key):
        return {"labels": np.array([10.0 + key, key], np.float32), "key": np.int32(key)}

    def describe(self, key):
        return f"clip {key}"


def test_labels_are_chosen_by_name_whatever_their_order():
    source = RelabelledSource(Two(), ("night", "cars"))
    assert [source[i]["labels"].tolist() for i in range(2)] == [[0.0, 10.0], [1.0, 11.0]]
    assert source.report == "two clips" and source.describe(1) == "clip 1" and len(source) == 2


def test_a_label_that_the_source_lacks_is_unknown_and_said_to_be():
    source = RelabelledSource(Two(), ("fog", "cars"))
    labels = source[1]["labels"]
    assert np.isnan(labels[0]) and labels[1] == 11.0 and labels.dtype == np.float32
    assert source.report == "two clips\n  labels unknown here: fog"


@pytest.mark.parametrize("key", [0, np.int64(1)])
def test_the_rest_of_an_example_stays(key):
    assert RelabelledSource(Two(), ())[key]["key"] == key


def test_examples_are_known_by_what_they_are():
    class Others(Two):
        def describe(self, key):
            return f"another {key}"

    same = RelabelledSource(Two(), ("night",)).fingerprint
    assert same == RelabelledSource(Two(), ()).fingerprint
    assert same != RelabelledSource(Others(), ()).fingerprint


def test_labels_that_no_example_has_are_unknown():
    assert RelabelledSource(Two(), ("fog", "cars")).unknown == {"labels": ("fog",)}
