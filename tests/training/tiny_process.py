"""One process of a run of two, as a command of `vldm` (not a test).

`python tiny_process.py WORKDIR PORT PROCESS SECONDS_A_BATCH TOTAL_STEPS [TOTAL_STEPS ...]` trains
to each total in turn, from the checkpoint of the one before, unless it is stopped on the way. With
FAIL="PROCESS SIGNAL", that process gets the signal (0: raises) in place of its fifth batch.
"""

import os
import sys
import types
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = ""
sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import numpy as np
from tiny_training import Loader, make_run, train

from vldm_jax.cli.main import main
from vldm_jax.parallel import hosts
from vldm_jax.parallel.mesh import make_mesh

workdir, port, process, seconds, *totals = sys.argv[1:]
FAILING = os.environ["FAIL"].split() if "FAIL" in os.environ else (None, 0)


class Share(Loader):
    """This process's half of every batch."""

    def __next__(self):
        if self.position == 4 and process == FAILING[0]:
            print("fails now", flush=True)
            if FAILING[1] == "0":
                raise OSError("the disk is gone")
            os.kill(os.getpid(), int(FAILING[1]))
        batch = super().__next__()
        half = len(batch["video"]) // 2
        return {key: value[int(process) * half :][:half] for key, value in batch.items()}


def run(argv):
    print(hosts.start(f"127.0.0.1:{port}", 2, int(process)), flush=True)
    assert hosts.agree(process == "0"), "what process 0 says holds everywhere"
    setup = make_run(mesh=make_mesh())
    for total_steps in totals:
        loader = Share(float(seconds))
        try:
            state, _ = train(workdir, int(total_steps), run=setup, loader=loader, keep=1)
        finally:
            print(f"left at step {loader.position}", flush=True)
        assert loader.position == int(state.step)
    if hosts.is_main():
        leaves = [np.asarray(leaf.addressable_data(0)) for leaf in jax.tree.leaves(state)]
        np.savez(Path(workdir) / "state.npz", *leaves)
    hosts.barrier("done")


sys.modules["vldm_jax.cli.train"] = types.SimpleNamespace(run=run)
sys.argv = ["vldm", "train"]
sys.exit(main())
