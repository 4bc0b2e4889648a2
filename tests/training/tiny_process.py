"""One process of a run of two (not a test).

`python tiny_process.py WORKDIR PORT PROCESS SECONDS_A_BATCH TOTAL_STEPS [TOTAL_STEPS ...]` trains
to each total in turn, from the checkpoint of the one before, unless it is stopped on the way.
"""

import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = ""
sys.path.insert(0, str(Path(__file__).parents[2]))

from vldm_jax.parallel import hosts

workdir, port, process = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print(hosts.start(f"127.0.0.1:{port}", 2, process), flush=True)

import jax
import numpy as np
from tiny_training import Loader, make_run, train

from vldm_jax.parallel.mesh import make_mesh


class Share(Loader):
    """This process's half of every batch."""

    def __next__(self):
        batch = super().__next__()
        half = len(batch["video"]) // 2
        return {key: value[process * half :][:half] for key, value in batch.items()}


assert hosts.agree(process == 0), "what process 0 says holds everywhere"
run = make_run(mesh=make_mesh())
for total_steps in sys.argv[5:]:
    loader = Share(float(sys.argv[4]))
    state, _ = train(workdir, int(total_steps), run=run, loader=loader, keep=1)
    assert loader.position == int(state.step)
    print(f"left at step {loader.position}", flush=True)
if hosts.is_main():
    leaves = [np.asarray(leaf.addressable_data(0)) for leaf in jax.tree.leaves(state)]
    np.savez(workdir / "state.npz", *leaves)
hosts.barrier("done")
