"""SIGINT and SIGTERM, heard at once.

Python runs the handler of a signal when its main thread is back in Python; from a compilation that
may be minutes later. What has to happen at once is done by a thread instead, which reads the bytes
that Python's C handler writes (`signal.set_wakeup_fd`) wherever the main thread is.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)
# Who ends a program often tells it and then its process group (`timeout` does): within this time
# the same signal again is the one that came.
ECHO_SECONDS = 0.2


class Stopped(SystemExit):
    """A signal has ended the command, whose exit code says so as shells do: 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextlib.contextmanager
def listening(
    at_once: Callable[[signal.Signals, int], None],
    in_main: Callable[[int, FrameType | None], None],
) -> Iterator[None]:
    """Hear SIGINT and SIGTERM in this context; outside the main thread it does nothing.

    Args:
        at_once: (signal, how many have come) -> None, called in a thread, without delay. An echo
            is not counted.
        in_main: Python's own kind of handler: called in the main thread once that is in Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)

    def listen() -> None:
        count, last, when = 0, 0, -ECHO_SECONDS
        while heard := ear.recv(64):
            for number in heard:
                if number not in STOPPING:
                    continue
                now = time.monotonic()
                if number != last or now - when >= ECHO_SECONDS:
                    count, last, when = count + 1, number, now
                    at_once(signal.Signals(number), count)

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    wakeup = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, in_main) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: it was not Python that had installed it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(wakeup)
        mouth.close()
        thread.join()
        ear.close()


def end_at_once(code: int) -> NoReturn:
    """End this process and its workers here and now, whatever its other threads are doing.

    A library that is cut off inside, by an interrupt in a compilation for one, may crash or hang
    while Python takes it down; this leaves that out.
    """
    if "multiprocessing" in sys.modules:
        for worker in sys.modules["multiprocessing"].active_children():
            worker.kill()
    os._exit(code)
