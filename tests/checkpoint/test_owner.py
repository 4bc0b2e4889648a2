"""A workdir has one owner at a time, and a killed one leaves it free."""

import fcntl
import subprocess
import sys

import pytest

from vldm_jax.checkpoint.owner import check_free, owned
from vldm_jax.core.errors import InputError

OWNER = """
import sys, time
from pathlib import Path
from vldm_jax.checkpoint.owner import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


def test_a_second_owner_is_refused_in_one_line_that_names_the_first(tmp_path):
    check_free(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    message = (
        rf"another run owns {tmp_path}/run: process \d+ on \S+, since [\d :-]+; wait .*workdir$"
    )
    with owned(tmp_path / "run"):
        with pytest.raises(InputError, match=message):
            check_free(tmp_path / "run")
        with pytest.raises(InputError, match=message), owned(tmp_path / "run"):
            pytest.fail("two owners")
    check_free(tmp_path / "run")
    with owned(tmp_path / "run"):
        pass


def test_a_killed_owner_leaves_the_workdir_free(tmp_path):
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "owned\n"
        with pytest.raises(InputError, match=f"process {process.pid} on"):
            check_free(tmp_path)
        process.kill()
    with owned(tmp_path):
        pass


def test_a_file_system_without_locks_is_said_and_no_error(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with owned(tmp_path):
        line = f"{tmp_path} cannot be locked (Operation not supported): see to it that no other run"
        assert capsys.readouterr().err.startswith(line)
