"""Twenty steps of DDIM on an imported network end where diffusers' scheduler ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from reference import INPUTS, difference

from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.interop import load
from vldm_jax.sampling.grids import uniform
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.solvers.ddim import DDIM

pytestmark = pytest.mark.slow  # whole public networks; CI runs them

torch, diffusers = reference.torch, reference.diffusers

STEPS = 20
SCHEDULE = ScaledLinearSchedule()  # Stable Diffusion's
SIZES = {"sd1": reference.ONE_LEVEL, "sd2": reference.ONE_LEVEL | {"attention_head_dim": 2}}


def diffusers_ddim(model, prediction, *, to_x0):
    """Latents after all steps; as in SD's scheduler_config.json but for the last one."""
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=to_x0,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction,
    )
    scheduler.set_timesteps(STEPS)
    z, context = reference.first(INPUTS.z), torch.from_numpy(INPUTS.context)
    with torch.no_grad():
        for time in scheduler.timesteps:
            z = scheduler.step(model(z, time, context).sample, time, z).prev_sample
    return reference.last(z)


def our_ddim(net, target, *, to_x0):
    grid = uniform(SCHEDULE, STEPS, offset=1)
    if not to_x0:
        grid = np.append(grid[:-1], SCHEDULE.k_sigmas()[0])
    context = jnp.asarray(INPUTS.context)
    denoise = make_denoiser(lambda z, time: net(z, time, context), SCHEDULE, target)
    x = jax.jit(lambda noise: sample(denoise, DDIM(), grid, noise, jax.random.key(0)))(INPUTS.z)
    return x / np.sqrt(1.0 + grid[-1] ** 2)


# The uniform grid ends at sigma 0, which is set_alpha_to_one=True; SD's scheduler_config says False
# and ends at the schedule's first sigma, as the same grid with its last entry replaced.
@pytest.mark.parametrize(
    ("name", "target", "prediction", "to_x0"),
    [
        ("sd1", "epsilon", "epsilon", True),
        pytest.param("sd1", "epsilon", "epsilon", False, marks=pytest.mark.slow),
        pytest.param("sd2", "v", "v_prediction", False, marks=pytest.mark.slow),
    ],
)
def test_ddim(saved, name, target, prediction, to_x0):
    model = getattr(reference, name)(**SIZES[name])
    theirs = diffusers_ddim(model, prediction, to_x0=to_x0)
    ours = our_ddim(load(saved(name, **SIZES[name])), target, to_x0=to_x0)
    assert difference(ours, theirs) <= 1e-3
