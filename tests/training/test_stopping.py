"""What a person who presses Ctrl-C sees, also where a compilation does not let Python speak."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from vldm_jax.core.signals import ECHO_SECONDS

COMPILING = """
import hashlib
from vldm_jax.training.stopping import StopRequest
with StopRequest(say=lambda line: print(line, flush=True)) as stop:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)
"""
# What a shell would run: the first seconds are imports, and then the config is read.
TRAIN = ["train", "--config=configs/driving/video.py:tiny", "--config.data.workers=-1"]


@contextlib.contextmanager
def running(*argv):
    pipe = subprocess.PIPE
    command = [sys.executable, *argv]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_compilation_hears_both_signals_at_once(number):
    with running("-c", COMPILING) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)  # be inside
        begun = time.monotonic()
        process.send_signal(number)
        line = f"{number.name}: stopping after this step; once more to stop now\n"
        assert process.stdout.readline() == line
        time.sleep(ECHO_SECONDS + 0.1)
        process.send_signal(number)
        line = f"{number.name} again: stopped at once, the last checkpoint stands\n"
        assert process.stdout.readline() == line
        assert process.wait(10) == 128 + number
        assert time.monotonic() - begun < 5
        assert process.stderr.read() == ""


@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_an_interrupt_of_the_start(tmp_path, seconds):
    with running("-m", "vldm_jax", *TRAIN, f"--workdir={tmp_path / 'run'}") as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "vldm: interrupted\n")
        assert process.returncode == 130
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", range(2, 90, 8))
def test_an_interrupt_at_any_time(tmp_path, seconds):
    """Of the imports, the scan, the parameters, the compilation, the steps: one line, then 130."""
    argv = ["-m", "vldm_jax", "train", "--config=configs/driving/video.py:tiny"]
    with running(*argv, f"--workdir={tmp_path / 'run'}") as process:
        time.sleep(seconds)
        for wait in (2, 30):  # the loop asks for a second signal
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait)
                break
        error = process.stderr.read()
        assert process.returncode == 130, error
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert "Traceback" not in error and "Fatal" not in error
    assert error.splitlines()[-1].startswith(("vldm: interrupted", "SIGINT again", "stopped by"))


def test_a_full_disk_behind_the_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "vldm_jax", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
    assert result.returncode == 1
    message = "vldm: error: [Errno 28] No space left on device: 'the standard output'\n"
    assert result.stderr == message
