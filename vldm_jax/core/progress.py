"""How far something is: a bar on a terminal, plain lines in a log; on the standard error.

    with Progress("judging", total=64, unit="clip") as progress:
        ...
        progress.update()

    judging: 12 of 64 clips, 2.5 s a clip, 2 min left        every half a minute
    judging: 64 of 64 clips in 2 min 40 s, 2.5 s a clip      at the end, unless that came soon

A line is due by the clock, not by what is done: the first clip may wait for minutes for a compiler,
and a log that says nothing for so long looks like one of a process that hangs.
"""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from vldm_jax.core.words import counted

EVERY_SECONDS = 30.0  # between two lines
SOON_SECONDS = 5.0  # what takes no longer needs no line
T = TypeVar("T")


class Progress:
    """Progress of one piece of work; a context.

    Args:
        what: is done, as "judging".
        total: how many there are.
        unit: what they are, the word for one.
        done: those that were there before and cost nothing now.
        leave: whether the bar stays on the terminal.
    """

    def __init__(
        self, what: str, total: int, unit: str, *, done: int = 0, leave: bool = False
    ) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._first = self._done = done
        self._note = ""
        self._start = time.monotonic()
        self._since: tuple[float, int] | None = None  # when the first came, and how many were there
        self._ended = threading.Event()
        self._bar = self._thread = None
        if sys.stderr.isatty():
            self._bar = tqdm(desc=what, total=total, initial=done, unit=unit, leave=leave)
        else:
            self._thread = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> "Progress":
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            if kind is None and self._seconds() > SOON_SECONDS:
                self._say(f" in {duration(self._seconds())}{self._each(of_all=True)}")

    def update(self, count: int = 1) -> None:
        """Say that so many more are done."""
        self._done += count
        if self._since is None:
            self._since = time.monotonic(), self._done
        if self._bar is not None:
            self._bar.update(count)

    def note(self, text: str) -> None:
        """Say what is done at the moment beside that, "" for nothing."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def _speak(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            note = f", {self._note}" if self._note else ""
            if self._done == self._first:
                self._say(f" after {duration(self._seconds())}{note}")
                continue
            left = self._pace() * (self._total - self._done)
            self._say(f"{self._each()}, {duration(left)} left{note}")

    def _say(self, rest: str) -> None:
        units = counted(self._total, self._unit)
        print(f"{self._what}: {self._done} of {units}{rest}", file=sys.stderr, flush=True)

    def _each(self, *, of_all: bool = False) -> str:
        new = self._done - self._first
        if not new:
            return ""
        return f", {self._seconds() / new if of_all else self._pace():.2g} s a {self._unit}"

    def _pace(self) -> float:
        """Seconds that one takes; the first, which may wait for a compiler, only if it is alone."""
        start, before = self._since or (self._start, self._first)
        if self._done == before:
            start, before = self._start, self._first
        return (time.monotonic() - start) / (self._done - before)

    def _seconds(self) -> float:
        return time.monotonic() - self._start


def tracked(things: Iterable[T], what: str, total: int, unit: str) -> Iterator[T]:
    """Yield what is in an iterable, telling how far it is; arguments as of `Progress`."""
    with Progress(what, total, unit) as progress:
        for thing in things:
            yield thing
            progress.update()


def duration(seconds: int | float) -> str:
    """Return a time for a person: "8 s", "2 min 40 s", "1 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, more = divmod(minutes, 60)
    if hours:
        return f"{hours} h {more} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
