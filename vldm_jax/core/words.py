"""Numbers of things in a sentence: "1 video", "3 videos"; lists cut after their first."""

from collections.abc import Sequence

FIRST = 3  # names that a line gives


def counted(count: int, thing: str, things: str | None = None) -> str:
    """Return a number with what it counts.

    Args:
        count: how many.
        thing: the word for one, an adjective before it if need be.
        things: the word for several; by default with an "s" at its end.
    """
    return f"{count} {thing if count == 1 else things or f'{thing}s'}"


def listed(names: Sequence[str], first: int = FIRST) -> str:
    """Return the first of some names, and how many more there are: "a, b, c and 4 more"."""
    more = len(names) - first
    return ", ".join(names[:first]) + (f" and {more} more" if more > 0 else "")
