"""Means over an interval, its clock, and its way into another process."""

import json
import time

import jax.numpy as jnp
import numpy as np
import pytest

from vldm_jax.training.interval import Interval
from vldm_jax.training.objective import Mean

TIMES = {"step_seconds", "loader_wait_seconds"}


def means(interval):
    return {name: value for name, value in interval.figures().items() if name not in TIMES}


def test_means_weigh_by_count_and_scalars_by_step():
    interval = Interval()
    interval.add({"loss": jnp.float32(1), "part": Mean(jnp.float32(6), jnp.float32(3))})
    own = interval.add({"loss": jnp.float32(3), "part": Mean(jnp.float32(0), jnp.float32(0))})
    assert own == {"loss": 3.0}
    assert means(interval) == {"loss": 2.0, "part": 2.0}


def test_a_metric_that_never_had_a_value_is_left_out():
    interval = Interval()
    interval.add({"part": Mean(jnp.float32(0), jnp.float32(0))})
    assert means(interval) == {}


def test_an_interval_goes_on_in_another_process():
    whole, values = Interval(), np.random.default_rng(0).normal(size=7).astype(np.float32)
    for value in values:
        whole.add({"loss": value, "part": Mean(jnp.float32(value), jnp.float32(2))})
    parts = Interval()
    for value in values:
        parts = Interval(json.loads(json.dumps(parts.state())))
        parts.add({"loss": value, "part": Mean(jnp.float32(value), jnp.float32(2))})
    assert means(parts) == means(whole)


def test_time_is_that_of_the_steps_with_their_waiting_without_pauses():
    interval = Interval()
    with interval.clock.waiting():
        time.sleep(0.1)
    with interval.clock.paused():
        time.sleep(0.5)
    interval = Interval(json.loads(json.dumps(interval.state())))
    for _ in range(2):
        interval.add({})
    figures = interval.figures()
    assert 0.05 <= figures["loader_wait_seconds"] <= figures["step_seconds"] < 0.25
    assert figures["loader_wait_seconds"] == pytest.approx(0.05, abs=0.04)
