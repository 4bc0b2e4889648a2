"""What an earlier version left goes on, whatever Python and jax have become since."""

import shutil
from pathlib import Path

import jax
import numpy as np
from tiny_training import train

# Of `python tiny_training.py WORKDIR 3 0` at version 0.1.0, with Python 3.11 and jax 0.10.2.
RUN = Path(__file__).with_name("run_of_0_1_0.zip")


def test_a_run_of_the_first_version_goes_on_as_if_it_had_never_stopped(tmp_path, capsys):
    shutil.unpack_archive(RUN, tmp_path / "old")
    resumed, _ = train(tmp_path / "old", 5)
    assert "resumed from step 3" in capsys.readouterr().err
    whole, _ = train(tmp_path / "new", 5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6), resumed, whole)
