"""One update: who gets a gradient, what it costs, and what it does not depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_training import BATCH, RULES, make_batch, make_objective, make_params, make_run

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.parallel.mesh import make_mesh, shard_batch
from vldm_jax.training.precision import cast_frozen
from vldm_jax.training.step import check_batch, compile_step, make_step

KEYS = ("video", "labels")


def place(batch, mesh):
    return shard_batch(batch, mesh, KEYS)


@functools.cache
def run_steps(count, devices=1, dtype=jnp.float32, objective=None, accumulate=1):
    """Return (state, last metrics, frozen parameters) after some steps."""
    step, state, frozen, mesh, root_key, _ = make_run(
        objective=make_objective(dtype) if objective is None else objective(),
        mesh=make_mesh(devices=jax.devices()[:devices]),
        accumulate=accumulate,
    )
    if dtype == jnp.bfloat16:
        frozen = cast_frozen(frozen, "bfloat16")
    compiled, metrics = compile_step(step, state), None
    for n in range(count):
        state, metrics = compiled(state, frozen, place(make_batch(n), mesh), root_key)
    return state, metrics, frozen


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


class Deterministic:
    """A loss without noise, so that it is the mean of its microbatches' losses."""

    needs = KEYS

    def loss(self, params, batch, key, step):
        z = batch["video"].astype(jnp.float32)[..., :2] / 255
        cond = {"labels": batch["labels"]}
        out = make_objective().predict(params["network"], z, jnp.zeros(len(z)), cond)
        value = jnp.mean((out - z**2) ** 2)
        return value, {"twice": 2 * value}


class Noise:
    """A loss that shows which key it was given."""

    needs = KEYS

    def loss(self, params, batch, key, step):
        noise = jax.random.normal(key, (1,))[0]
        return params["network"]["temporal_mix"] * noise, {"square": noise**2, "noise": noise}


def test_state_holds_the_trained_part_alone_and_moves_it():
    initial = paths.flatten(make_params())
    state, metrics, frozen = run_steps(3)
    trained = {f"network/temporal_{name}" for name in ("conv/kernel", "conv/bias", "mix")}
    for tree in (state.params, state.ema):
        assert set(paths.flatten(tree)) == trained
    for name, leaf in paths.flatten(state.params).items():
        assert np.any(leaf != initial[name]), name
    assert int(state.step) == 3
    assert np.isfinite(float(metrics["loss"]))
    assert set(paths.flatten(frozen)) == set(initial) - trained
    for name, leaf in paths.flatten(frozen).items():
        np.testing.assert_array_equal(leaf, initial[name])


def test_optimiser_state_has_no_byte_for_the_frozen_part():
    _, state, frozen, *_ = make_run()
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.dtype == jnp.float32]
    trained = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    assert sum(leaf.nbytes for leaf in moments) == 2 * trained
    rest = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.dtype != jnp.float32]
    assert all(leaf.shape == () for leaf in rest)  # counters
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(frozen)) > 0


def test_gradient_is_the_trained_part_of_the_full_gradient():
    objective, batch = make_objective(), {key: jnp.asarray(make_batch(0)[key]) for key in KEYS}
    key, step = jax.random.key(3), jnp.zeros((), jnp.int32)
    parts = paths.partition(make_params(), RULES)
    frozen = parts.pop("frozen")
    loss = lambda p, q: objective.loss(paths.merge(p, q), batch, key, step)[0]  # noqa: E731
    full = jax.jit(jax.grad(lambda p: loss(p, {})))(make_params())
    trained = jax.jit(jax.grad(lambda p: loss(p, frozen)))(paths.merge(*parts.values()))
    flat = paths.flatten(full)
    assert_close(trained, paths.unflatten({name: flat[name] for name in paths.flatten(trained)}))


def test_accumulation_is_the_big_batch():
    whole, metrics, _ = run_steps(2, objective=Deterministic)
    parts, parts_metrics, _ = run_steps(2, objective=Deterministic, accumulate=4)
    assert_close(whole.params, parts.params)
    assert_close(whole.ema, parts.ema)
    assert_close(metrics, parts_metrics)


def test_microbatches_draw_different_noise():
    _, metrics, _ = run_steps(1, objective=Noise, accumulate=4)
    assert float(metrics["square"]) > float(metrics["noise"]) ** 2 + 1e-3


def test_accumulation_must_divide_the_batch():
    with pytest.raises(ValueError, match="batch of 8 is not divisible by optim.accumulate=3"):
        run_steps(1, objective=Noise, accumulate=3)


def test_four_devices_are_one_device():
    one, metrics_one, _ = run_steps(3)
    four, metrics_four, _ = run_steps(3, devices=4)
    assert len(four.step.sharding.device_set) == 4
    assert_close(one.params, four.params)
    assert_close(one.ema, four.ema)
    assert_close(metrics_one, metrics_four, rtol=1e-4)


def test_microbatches_over_devices_are_microbatches():
    one, metrics_one, _ = run_steps(2, objective=Deterministic)
    four, metrics_four, _ = run_steps(2, objective=Deterministic, devices=4, accumulate=2)
    assert_close(one.params, four.params)
    assert_close(metrics_one, metrics_four)


def test_nothing_compiles_after_the_first_step():
    compiles = []

    def count(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiles.append(seconds)

    step, state, frozen, mesh, root_key, _ = make_run(mesh=make_mesh(), accumulate=2)
    compiled = compile_step(step, state)
    batches = [place(make_batch(n), mesh) for n in range(4)]
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        state, _ = compiled(state, frozen, batches[0], root_key)
        first = len(compiles)
        for batch in batches[1:]:
            state, _ = compiled(state, frozen, batch, root_key)
        jax.block_until_ready(state)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert first >= 1
    assert len(compiles) == first


def test_a_step_depends_on_seed_and_step_alone():
    step, state, frozen, mesh, root_key, _ = make_run(objective=Noise())
    batch = place(make_batch(0), mesh)
    jitted = jax.jit(step)
    _, first = jitted(state, frozen, batch, root_key)
    _, again = jitted(state, frozen, batch, root_key)
    _, later = jitted(state.replace(step=state.step + 1), frozen, batch, root_key)
    assert float(first["noise"]) == float(again["noise"]) != float(later["noise"])


def test_bfloat16_is_near_float32():
    """Frozen network and compute in bfloat16, the rest in float32: losses within 2%."""
    exact, metrics, _ = run_steps(3)
    state, low, frozen = run_steps(3, dtype=jnp.bfloat16)
    dtypes = {name: {leaf.dtype for leaf in jax.tree.leaves(tree)} for name, tree in frozen.items()}
    assert dtypes == {"network": {jnp.dtype("bfloat16")}, "autoencoder": {jnp.dtype("float32")}}
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(jnp.float32)}
    assert low["loss"].dtype == jnp.float32
    assert float(low["loss"]) == pytest.approx(float(metrics["loss"]), rel=0.02)
    assert float(low["loss"]) != float(metrics["loss"])
    assert_close(state.params, exact.params, rtol=0.1, atol=0.02)


def test_metrics_say_what_was_done():
    _, metrics, _ = run_steps(3)
    names = {"loss", "grad_norm", "update_norm", "lr", "mix_mean", "mix_min", "mix_max"}
    assert set(metrics) == names | {f"loss_time_q{i}" for i in range(1, 5)}
    assert float(metrics["lr"]) == pytest.approx(1e-2)  # two steps of warm-up are over
    assert float(metrics["mix_mean"]) == pytest.approx(0.5, abs=0.05)
    assert sum(float(metrics[f"loss_time_q{i}"].count) for i in range(1, 5)) == BATCH


def test_clipping_bounds_the_update_and_the_average_may_be_absent():
    tx = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(1.0))
    _, state, frozen, mesh, root_key, _ = make_run()
    step = make_step(Deterministic(), tx, learning_rate=lambda n: 1.0)
    state = state.replace(opt_state=tx.init(state.params), ema=None)
    new, metrics = jax.jit(step)(state, frozen, place(make_batch(0), mesh), root_key)
    assert float(metrics["grad_norm"]) > 1e-3
    assert float(metrics["update_norm"]) == pytest.approx(1e-3, rel=1e-4)
    assert new.ema is None


@pytest.mark.parametrize(("batch", "accumulate", "devices"), [(8, 1, 4), (8, 2, 4), (3, 3, 1)])
def test_batches_that_divide(batch, accumulate, devices):
    check_batch(batch, accumulate, devices)


@pytest.mark.parametrize(
    ("batch", "accumulate", "devices", "message"),
    [
        (
            36,
            1,
            8,
            "batch_size=36 does not divide over 8 devices: choose a multiple of 8, 32 or 40",
        ),
        (8, 4, 4, r"over 4 devices in 4 microbatches .*: choose a multiple of 16, 16$"),
        (300, 3, 8, "a multiple of 24, 288 or 312"),
    ],
)
def test_batches_that_would_be_filled_up(batch, accumulate, devices, message):
    with pytest.raises(InputError, match=message):
        check_batch(batch, accumulate, devices)
