"""The optimiser against Adam written out in NumPy, group by group."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vldm_jax.core.errors import InputError
from vldm_jax.training.optimiser import make_optimiser, make_schedule

RULES = (("^frozen", "frozen"), ("mix", "mix"), ("", "temporal"))
GROUPS = {"temporal": (1.0, 1.0), "mix": (10.0, 0.0)}
PARAMS = {"temporal": {"kernel": np.array([1.0, -2.0])}, "mix": np.array([0.5, 3.0])}


def numpy_adamw(param, grads, *, lr, decay, betas=(0.9, 0.99), eps=1e-8):
    first = second = np.zeros_like(param)
    for n, grad in enumerate(grads, start=1):
        first = betas[0] * first + (1 - betas[0]) * grad
        second = betas[1] * second + (1 - betas[1]) * grad**2
        scaled = (first / (1 - betas[0] ** n)) / (np.sqrt(second / (1 - betas[1] ** n)) + eps)
        param = param - lr * (scaled + decay * param)
    return param


def run(tx, grads):
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = tx.init(params)
    update = jax.jit(tx.update)
    for kernel, mix in grads:
        updates, state = update({"temporal": {"kernel": kernel}, "mix": mix}, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_groups_have_their_own_rate_and_decay():
    grads = [(g[0], g[1]) for g in np.random.default_rng(0).normal(size=(4, 2, 2))]
    tx = make_optimiser(
        rules=RULES,
        groups=GROUPS,
        learning_rate=optax.constant_schedule(0.01),
        betas=(0.9, 0.99),
        weight_decay=0.1,
        clip_norm=None,
    )
    params = run(tx, grads)
    kernel = numpy_adamw(PARAMS["temporal"]["kernel"], [g[0] for g in grads], lr=0.01, decay=0.1)
    mix = numpy_adamw(PARAMS["mix"], [g[1] for g in grads], lr=0.1, decay=0.0)
    np.testing.assert_allclose(params["temporal"]["kernel"], kernel, rtol=1e-5)
    np.testing.assert_allclose(params["mix"], mix, rtol=1e-5)


def test_zero_gradient_shows_the_decay_alone():
    tx = make_optimiser(
        rules=RULES, groups=GROUPS, learning_rate=lambda n: 0.01, weight_decay=0.5, clip_norm=1.0
    )
    params = run(tx, [(np.zeros(2), np.zeros(2))])
    np.testing.assert_allclose(
        params["temporal"]["kernel"], PARAMS["temporal"]["kernel"] * (1 - 0.01 * 0.5), rtol=1e-6
    )
    np.testing.assert_array_equal(params["mix"], PARAMS["mix"])


def test_clipping_is_over_all_groups_together():
    # Adam's first update is the sign of the gradient whatever its size, so look at the second
    # moment: after clipping to 1, (3, 4) over two groups is (0.6, 0.8).
    tx = make_optimiser(
        rules=RULES, groups=GROUPS, learning_rate=lambda n: 0.01, betas=(0.9, 0.0), clip_norm=1.0
    )
    params = jax.tree.map(jnp.asarray, PARAMS)
    grads = {"temporal": {"kernel": jnp.array([3.0, 0.0])}, "mix": jnp.array([4.0, 0.0])}
    _, state = tx.update(grads, tx.init(params), params)
    nu = optax.tree.get(state, "nu")
    assert float(nu["temporal"]["kernel"][0]) == pytest.approx(0.36, rel=1e-5)
    assert float(nu["mix"][0]) == pytest.approx(0.64, rel=1e-5)


def test_constant_schedule():
    rate = make_schedule(lr=2.0, warmup_steps=4, schedule="constant", total_steps=0)
    assert [float(rate(n)) for n in (0, 1, 4, 1000)] == [0.0, 0.5, 2.0, 2.0]
    flat = make_schedule(lr=2.0, warmup_steps=0, schedule="constant", total_steps=0)
    assert float(flat(0)) == 2.0


def test_cosine_schedule():
    rate = make_schedule(lr=2.0, warmup_steps=10, schedule="cosine", total_steps=110)
    assert float(rate(5)) == pytest.approx(1.0)
    assert float(rate(10)) == pytest.approx(2.0)
    assert float(rate(60)) == pytest.approx(1.0)
    assert float(rate(110)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sgd"}, "optim.name='sgd': choose one of"),
        ({"name": "adam", "weight_decay": 0.1}, "'adam' takes no weight_decay=0.1"),
        ({"groups": {"temporal": (1.0, 1.0)}}, "train.groups lacks 'mix'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    fields = {"rules": RULES, "groups": GROUPS, "learning_rate": lambda n: 0.1} | change
    with pytest.raises(InputError, match=message):
        make_optimiser(**fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "linear"}, "optim.schedule='linear': choose one of"),
        ({"schedule": "cosine", "total_steps": 5}, "train.total_steps > optim.warmup_steps"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(change, message):
    fields = {"lr": 1.0, "warmup_steps": 10, "schedule": "constant", "total_steps": 100} | change
    with pytest.raises(InputError, match=message):
        make_schedule(**fields)
