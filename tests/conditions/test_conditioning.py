"""What the conditions of a network ask of a batch, their null values, and dropping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax import conditions
from vldm_jax.conditions.added_time_ids import AddedTimeIds
from vldm_jax.conditions.class_labels import ClassLabels
from vldm_jax.conditions.labels import Labels
from vldm_jax.conditions.text import TemporalText, Text
from vldm_jax.core.errors import InputError

MANY = 4000
LABELS = Labels(kinds=("binary", "count"))
TEXT, OPTIONAL = Text(width=3), Text(width=3, required=False)
NULL_FREE = (ClassLabels(num_classes=5), AddedTimeIds(count=2))
EMPTY = {"context": jnp.full((1, 2, 3), -1.0)}
KEY = jax.random.key(0)


def batch(size=MANY):
    return {
        "context": jnp.ones((size, 2, 3)),
        "labels": jnp.ones((size, 2)),
        "class_labels": jnp.full((size,), 4),
        "added_time_ids": jnp.ones((size, 2)),
    }


@pytest.fixture(scope="module")
def dropped():
    return conditions.drop((TEXT, LABELS, *NULL_FREE), batch(), KEY, 0.3, EMPTY)


def test_each_label_of_a_sample_is_dropped_on_its_own(dropped):
    first, second = np.isnan(dropped["labels"]).T
    assert abs(first.mean() - 0.3) < 0.03 and abs(second.mean() - 0.3) < 0.03
    assert abs((first & second).mean() - 0.3**2) < 0.02  # 0.3 if both were dropped together
    np.testing.assert_array_equal(dropped["labels"][~first, 0], 1.0)


def test_a_sample_s_text_is_dropped_whole_and_apart_from_its_labels(dropped):
    tokens = np.asarray(dropped["context"]).reshape(MANY, -1)
    gone = tokens[:, 0] == -1.0
    np.testing.assert_array_equal(tokens, np.where(gone, -1.0, 1.0)[:, None] * np.ones((1, 6)))
    label = np.isnan(dropped["labels"][:, 0])
    assert abs(gone.mean() - 0.3) < 0.03
    assert abs((gone & label).mean() - 0.3**2) < 0.02


def test_what_knows_no_null_is_never_dropped(dropped):
    for key in ("class_labels", "added_time_ids"):
        np.testing.assert_array_equal(dropped[key], batch()[key])
    assert dropped["class_labels"].dtype == batch()["class_labels"].dtype


def test_dropping_follows_from_the_key_alone():
    cond = batch(8)
    once, again, other = (
        conditions.drop((LABELS,), cond, key, 0.5, {})["labels"]
        for key in (KEY, KEY, jax.random.key(1))
    )
    np.testing.assert_array_equal(once, again)
    assert (np.isnan(once) != np.isnan(other)).any()
    np.testing.assert_array_equal(cond["labels"], 1.0)  # the batch is left alone


@pytest.mark.parametrize("p", [0, 0.0])
def test_without_dropping_no_null_value_has_to_be_given(p):
    cond = batch(2)
    assert conditions.drop((TEXT, LABELS), cond, KEY, p, {}) == cond


def test_with_probability_one_all_is_null():
    cond = batch(3) | {"concat": jnp.ones((3, 1, 1, 1))}
    taken = (TEXT, LABELS, *NULL_FREE)
    dropped = conditions.drop(taken, cond, KEY, 1.0, EMPTY)
    null = conditions.null_of(taken, cond, EMPTY)
    assert dropped.keys() == null.keys() == cond.keys()
    for key in cond:
        np.testing.assert_array_equal(dropped[key], null[key])
    assert np.isnan(null["labels"]).all()
    np.testing.assert_array_equal(null["context"], jnp.full((3, 2, 3), -1.0))
    np.testing.assert_array_equal(null["concat"], cond["concat"])


def test_a_null_text_has_the_type_of_the_text():
    value = jnp.ones((2, 2, 3), jnp.bfloat16)
    assert TEXT.null(value, EMPTY).dtype == jnp.bfloat16


def test_temporal_text_has_an_empty_prompt_of_its_own():
    taken = (TEXT, TemporalText(width=3))
    cond = {"context": jnp.ones((2, 2, 3)), "context_temporal": jnp.ones((2, 2, 3))}
    given = EMPTY | {"context_temporal": jnp.full((1, 2, 3), -2.0)}
    null = conditions.null_of(taken, cond, given)
    assert float(null["context"].max()) == -1 and float(null["context_temporal"].max()) == -2
    with pytest.raises(InputError, match="context_temporal: .* empty prompt.* not given"):
        conditions.null_of(taken, cond, EMPTY)


def test_an_empty_prompt_that_is_absent_or_does_not_fit_is_refused():
    with pytest.raises(InputError, match="context: .* tokens are not given"):
        conditions.drop((TEXT,), batch(2), KEY, 0.1, {})
    with pytest.raises(InputError, match=r"\(5, 3\), the text of \(2, 3\); .* same text encoder"):
        conditions.null_of((TEXT,), batch(2), {"context": jnp.zeros((1, 5, 3))})


def test_a_batch_needs_what_is_required():
    assert conditions.needs((TEXT, *NULL_FREE)) == ("context", "class_labels", "added_time_ids")
    assert conditions.needs((OPTIONAL, TemporalText(width=3), LABELS)) == ("labels",)


LATENT = (1, 2, 8, 8, 4)


def test_an_example_is_one_sample_that_fits():
    examples = conditions.examples((TEXT, LABELS, *NULL_FREE), LATENT)
    assert {key: leaf.shape for key, leaf in examples.items()} == {
        "context": (1, 1, 3),
        "labels": (1, 2),
        "class_labels": (1,),
        "added_time_ids": (1, 2),
    }
    assert examples["class_labels"].dtype == jnp.int32
    assert "context" not in conditions.examples((OPTIONAL, LABELS), LATENT)
