"""Noticing that another process of the run has ended or hangs, and saying which one.

A collective waits for ever for a process that is gone. jax notices after a while, too, and aborts
with pages of C++ that name nobody. So every process says now and then, through jax's coordinator
(process 0), that it is alive; whoever is silent for too long is named by all the others, which then
end. Beats are Python's: a process whose interpreter is held for so long counts as gone.
"""

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

from vldm_jax.core.signals import end_at_once

BEAT_SECONDS = 3.0
SILENCE_SECONDS = 30.0  # a compilation or a long save is no silence
JAX_SECONDS = 90  # jax's own limit, of which half may pass before it looks: it must come second
FOLDER = "vldm_jax/alive/"
DONE, FAILED = "done", "failed"  # what is said in place of a beat at the end
_ABORT = ctypes.CFUNCTYPE(None, ctypes.c_int)


class Watch:
    """The beats of this process, and an ear for those of the others.

    Args:
        client: of jax's coordinator.
        process: number of this process.
        count: of all processes.
    """

    def __init__(self, client: Any, process: int, count: int) -> None:
        self._client, self._process, self._count = client, process, count
        now = time.monotonic()
        self._beats = {number: ("", now) for number in range(count) if number != process}
        self._answered = now
        self._ended = threading.Event()
        for target in (self._beat, self._look):
            threading.Thread(target=target, name="watch", daemon=True).start()
        atexit.register(self.end, DONE)
        if process:
            self._name_process_0_on_abort()

    def end(self, last_word: str) -> None:
        """Stop watching; say `DONE` or `FAILED` to the others in place of further beats."""
        if self._ended.is_set():
            return
        self._ended.set()
        with contextlib.suppress(Exception):  # a coordinator that is gone
            self._say(last_word)
            if last_word == FAILED and self._process == 0:
                time.sleep(
                    2 * BEAT_SECONDS
                )  # the others hear it from the coordinator, which is here

    def await_verdict(self) -> None:
        """Give the watch time to find out that an error here is the loss of another process."""
        self._ended.wait(SILENCE_SECONDS + 2 * BEAT_SECONDS)

    def _say(self, word: str) -> None:
        self._client.key_value_set(f"{FOLDER}{self._process}", word, allow_overwrite=True)

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT_SECONDS if beat else 0):
            beat += 1
            try:
                self._say(str(beat))
                heard = self._client.key_value_dir_get(FOLDER)
            except Exception:  # jax has several for a coordinator that does not answer
                if not self._ended.is_set():
                    self._lost(0, "does not answer")
                return
            self._answered = time.monotonic()
            for key, word in heard:
                number = int(key.rpartition("/")[2])
                if number in self._beats and self._beats[number][0] != word:
                    self._beats[number] = (word, self._answered)

    def _look(self) -> None:
        while not self._ended.wait(1.0):
            now = time.monotonic()
            if now - self._answered > SILENCE_SECONDS:
                self._lost(0, f"has not answered for {SILENCE_SECONDS:.0f} s")
            for number, (word, since) in self._beats.items():
                if word == FAILED:
                    self._lost(number, "has failed, its own output says why")
                if word != DONE and now - since > SILENCE_SECONDS:
                    self._lost(number, f"has not been heard of for {SILENCE_SECONDS:.0f} s")

    def _lost(self, number: int, how: str) -> NoReturn:
        self._ended.set()
        print(self._line(number, how), file=sys.stderr, flush=True)
        end_at_once(1)

    def _line(self, number: int, how: str) -> str:
        return (
            f"vldm: error: process {number} of {self._count} {how}: process {self._process} ends, "
            "too; start all of them again to go on from the last checkpoint"
        )

    def _name_process_0_on_abort(self) -> None:
        """Jax aborts the moment its coordinator is gone: have the last word, and no core file."""
        line = self._line(0, "is gone, jax has ended this one").encode() + b"\n"

        def aborted(number: int) -> None:
            os.write(2, line)
            os._exit(1)

        self._handler = _ABORT(aborted)  # kept: C has a pointer to it
        ctypes.CDLL(None).signal(ctypes.c_int(signal.SIGABRT), self._handler)
