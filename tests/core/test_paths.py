import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldm_jax.core.errors import InputError
from vldm_jax.core.paths import (
    check_fits,
    count,
    flatten,
    group_of,
    label,
    merge,
    partition,
    unflatten,
)

TREE = {"unet": {"conv_in": {"kernel": 1, "bias": 2}, "temporal": {"mix": 3}}, "decoder": 4}
RULES = (("temporal", "trained"), ("^unet/", "frozen"), ("decoder", "frozen"))

names = st.text("abc_1", min_size=1, max_size=4)
trees = st.recursive(
    st.dictionaries(names, st.integers(), min_size=1, max_size=3),
    lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3),
    max_leaves=20,
)


@given(trees)
def test_unflatten_undoes_flatten(tree):
    assert unflatten(flatten(tree)) == tree


def test_first_rule_found_decides():
    assert group_of(RULES, "unet/temporal/mix") == "trained"
    assert group_of(RULES, "unet/conv_in/bias") == "frozen"


def test_partition_is_disjoint_and_merges_back():
    parts = partition(TREE, RULES)
    assert flatten(parts["trained"]) == {"unet/temporal/mix": 3}
    assert merge(*parts.values()) == TREE


def test_labels_have_the_structure_of_the_tree():
    assert label(TREE, RULES)["unet"]["temporal"] == {"mix": "trained"}


def test_uncovered_path_is_an_error_that_names_it():
    with pytest.raises(InputError, match="'decoder' is covered by no rule"):
        partition(TREE, RULES[:2])


def test_merge_refuses_shared_paths():
    with pytest.raises(ValueError, match="both trees hold 'a/b'"):
        merge({"a": {"b": 1}}, {"a": {"b": 2}})


def test_count():
    assert count([jnp.zeros((2, 3)), jnp.zeros(())]) == 7


PARAMS = {"conv_in": {"kernel": np.zeros((3, 4)), "bias": np.zeros(3)}, "scale": np.ones(2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda flat: flat.pop("scale"), "lacks 'scale'"),
        (lambda flat: flat.update(extra=np.zeros(1)), "holds 'extra'"),
        (
            lambda flat: flat.update({"conv_in/bias": np.zeros(4)}),
            r"'conv_in/bias' of shape \(4,\)",
        ),
    ],
)
def test_a_file_for_another_network_is_refused(change, message):
    check_fits("a.safetensors", PARAMS, PARAMS)
    flat = flatten(PARAMS)
    change(flat)
    with pytest.raises(InputError, match=message):
        check_fits("a.safetensors", unflatten(flat), PARAMS)
