"""A state of three arrays and a loader with a position, to make checkpoints of."""

import jax.numpy as jnp
from flax import struct

from vldm_jax.checkpoint.manager import Checkpoints

CONFIG = {
    "data": {"fps": 7.5},
    "train": {"rules": (("mixer", "mix"), ("temporal", "temporal"), ("", "frozen"))},
}


@struct.dataclass
class State:
    step: object
    params: object
    opt_state: object
    ema: object


class Loader:
    def __init__(self, position=None):
        self.position = position

    def get_state(self):
        return self.position

    def set_state(self, position):
        self.position = position


def make_state(value=0.0):
    params = {
        "network": {
            "temporal_0": {
                "kernel": jnp.full((3, 4), value),
                "mixer": {"logit": jnp.full((), value)},
            }
        }
    }
    return State(step=jnp.int32(0), params=params, opt_state=(params, ()), ema=params)


def open_folder(folder, **fields):
    return Checkpoints(folder, **({"config": CONFIG} | fields))
