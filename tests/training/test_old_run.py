"""What an earlier version left goes on, whatever Python and jax have become since."""

import shutil
from pathlib import Path

import jax
import numpy as np
from tiny_training import train

# A workdir of `tiny_training.train` after 3 steps, and the leaves of its state in order, from
# version 0.1.0 with Python 3.11 and jax 0.10.2.
RUN = Path(__file__).with_name("run_of_0_1_0.zip")


def test_a_run_of_the_first_version_is_whole_and_goes_on(tmp_path, capsys):
    shutil.unpack_archive(RUN, tmp_path)
    restored, loader = train(tmp_path, 3)
    assert "resumed from step 3" in capsys.readouterr().err and loader.position == 3
    with np.load(tmp_path / "state.npz") as state:
        for name, leaf in zip(state.files, jax.tree.leaves(restored), strict=True):
            np.testing.assert_array_equal(leaf, state[name])
    assert int(train(tmp_path, 4)[0].step) == 4
