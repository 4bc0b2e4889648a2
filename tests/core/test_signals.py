"""Signals are heard while the main thread is inside a library, which a long hash stands for."""

import contextlib
import signal
import subprocess
import sys
import time

import pytest

from vldm_jax.core.signals import ECHO_SECONDS

LIBRARY = 'hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)'
LISTENER = f"""
import hashlib
from vldm_jax.core.signals import end_at_once, listening
def at_once(number, count):
    print(number.name, count, flush=True)
    if count == 2:
        end_at_once(128 + number)
with listening(at_once, lambda number, frame: None):
    print("ready", flush=True)
    {LIBRARY}
"""
COMMAND = """
import hashlib, sys, time, types
from vldm_jax.cli import interruption
from vldm_jax.cli.main import main
interruption.TIDY_SECONDS = {seconds}
command = types.ModuleType("vldm_jax.cli.train")
def run(argv):
    try:
        print("ready", flush=True)
        {body}
    finally:
        print("tidy", flush=True)
command.run = run
sys.modules["vldm_jax.cli.train"] = command
sys.argv = ["vldm", "train"]
sys.exit(main())
"""


@contextlib.contextmanager
def running(code):
    """Start a program; go on once it has said that it is ready."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_signals_are_heard_at_once_wherever_the_main_thread_is():
    with running(LISTENER) as process:
        for number, line in ((signal.SIGTERM, "SIGTERM 1\n"), (signal.SIGINT, "SIGINT 2\n")):
            process.send_signal(number)
            assert process.stdout.readline() == line
        assert process.wait(10) == 130


def test_a_signal_and_its_echo_are_one():
    """`timeout` signals a program, and then the group that the program is in."""
    with running(LISTENER) as process:
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert process.stdout.readline() == "SIGTERM 1\n" and process.poll() is None
        time.sleep(ECHO_SECONDS + 0.1)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "SIGTERM 2\n" and process.wait(10) == 143


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "vldm: interrupted\n"),
        (signal.SIGTERM, 143, "vldm: stopped by SIGTERM\n"),
    ],
)
def test_a_command_tidies_up_and_says_so_in_one_line(number, code, said):
    with running(COMMAND.format(body="time.sleep(60)", seconds=60)) as process:
        process.send_signal(number)
        assert process.communicate(timeout=10) == ("tidy\n", said)
        assert process.returncode == code


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (LIBRARY, 60),  # does not come back
        ("\n        ".join(["while True:", "    try: time.sleep(60)", "    except: pass"]), 0.5),
    ],
    ids=["a library", "who swallows it"],
)
def test_a_command_ends_in_any_case(body, seconds):
    with running(COMMAND.format(body=body, seconds=seconds)) as process:
        time.sleep(0.3)  # be inside
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "vldm: interrupted\n")
        assert process.returncode == 130
        assert time.monotonic() - begun < 5


def test_a_second_signal_ends_a_command_at_once():
    body = "try: time.sleep(60)\n        finally: time.sleep(60)"
    with running(COMMAND.format(body=body, seconds=60)) as process:
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "vldm: interrupted\n"
        time.sleep(ECHO_SECONDS + 0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - begun < 5
