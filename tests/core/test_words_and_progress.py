"""Numbers with their words, and how far something is where there is no terminal."""

import re
import sys
import time

import pytest

from vldm_jax.core import progress
from vldm_jax.core.progress import Progress, duration, tracked
from vldm_jax.core.words import counted, listed


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (11, "11 videos")]
)
def test_one_is_no_plural(count, words):
    assert counted(count, "video") == words


def test_a_plural_of_its_own():
    assert [counted(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]


def test_a_list_gives_its_first_and_counts_the_rest():
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (8, "8 s"), (59.7, "1 min 0 s"), (160, "2 min 40 s"), (3900, "1 h 5 min")],
)
def test_a_duration_is_for_a_person(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(progress, "SOON_SECONDS", 0.1)


def test_a_log_is_told_how_far_it_is_and_when_it_ends(quick, capsys):
    with Progress("judging", 4, "clip", done=1) as bar:
        time.sleep(0.12)  # as for a compiler
        for _ in range(3):
            bar.update()
            time.sleep(0.08)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert not out and lines[0] == "judging: 1 of 4 clips after 0 s"
    within = [re.fullmatch(r"judging: [234] of 4 clips, (.*) s a clip, 0 s left", x) for x in lines]
    each = [float(found[1]) for found in within if found]
    assert each and all(0.04 < seconds < 0.6 for seconds in each)
    assert re.fullmatch(r"judging: 4 of 4 clips in 0 s, 0\.\d+ s a clip", lines[-1])


def test_the_time_left_does_not_count_what_the_first_one_waited_for(quick, capsys):
    with Progress("judging", 1000, "clip") as bar:
        time.sleep(0.6)  # a compiler: of 1000 clips like this one it would be ten minutes
        for _ in range(10):
            bar.update()
            time.sleep(0.03)
        bar.update(989)
    found = re.findall(r"clip, (?:(\d+) min )?(\d+) s left", capsys.readouterr().err)
    last = [60 * int(minutes or 0) + int(seconds) for minutes, seconds in found][-1]
    assert 10 < last < 55


def test_what_ends_soon_says_nothing(capsys):
    assert list(tracked("abc", "scanning", 3, "video")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_an_error_is_no_end(quick, capsys):
    with pytest.raises(ValueError), Progress("judging", 2, "clip") as bar:
        bar.update()
        time.sleep(0.15)
        raise ValueError
    lines = capsys.readouterr().err.splitlines()
    assert lines and not any(" clips in " in line for line in lines)


def test_a_terminal_has_a_bar_and_no_lines(quick, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("judging", 2, "clip") as bar:
        bar.note("compiling")
        bar.update()
        time.sleep(0.15)
    err = capsys.readouterr().err
    assert "judging:   0%" in err and "compiling" in err and "\n" not in err
