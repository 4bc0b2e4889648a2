"""Two processes train what one trains, through a checkpoint, and only the first one writes logs."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_training import train


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(__file__).with_name("tiny_process.py")
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), str(tmp_path / "two"), str(port), str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert "process 1 of 2: 1 of 2 cpu devices" in outputs[1]
    assert "step 6/6" in outputs[0] and "step 6/6" not in outputs[1]
    records = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(record)["step"] for record in records] == [2, 3, 4, 6]
    one, _ = train(tmp_path / "one", 6)
    with np.load(tmp_path / "two" / "state.npz") as two:
        for name, leaf in zip(two.files, jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(two[name], leaf, rtol=1e-5, atol=1e-6)
