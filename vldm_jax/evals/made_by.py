"""Whether the steps of a table were made by one code, and from configs that still say the same.

A step's note is {"command": [...], "code": `core.code.identity`, "config": SHA-256 or null}, and of
one that was stopped and went on {"begun": the code that began it}. A note of before there was more
than the command is of unknown code. Nothing here is a reason to throw a result away: lines tell, a
person decides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "a code that its note does not tell"


def told_apart(notes: Mapping[str, Mapping[str, Any]], now: Mapping[str, str | None]) -> list[str]:
    """Return lines on steps that were made otherwise than others, or would be now.

    Args:
        notes: step -> its note.
        now: step -> SHA-256 of its config as it is now; None for a step without one.
    """
    makers: dict[str, list[str]] = {}
    for step, note in notes.items():
        makers.setdefault(_name(note.get("code")), []).append(step)
    lines = []
    if len(makers) > 1:
        of = "; ".join(f"{_list(steps)} by {maker}" for maker, steps in makers.items())
        lines.append(f"not all steps were made by one code: {of}")
    for step, note in notes.items():
        if "begun" in note and (first := _name(note["begun"])) != _name(note.get("code")):
            lines.append(f"{step} was begun by {first} and went on by {_name(note.get('code'))}")
    changed = [
        step
        for step, note in notes.items()
        if note.get("config") is not None and note["config"] != now[step]
    ]
    if changed:
        lines.append(f"the config is another one now than that of {_list(changed)}")
    return lines


def _name(code: Mapping[str, str] | None) -> str:
    if code is None:
        return UNKNOWN
    told = [code["version"], *([code["revision"]] if "revision" in code else [])]
    return f"{' '.join(told)} ({code['sha256'][:8]})"


def _list(steps: Sequence[str]) -> str:
    return ", ".join(steps[:6]) + (f" and {len(steps) - 6} more" if len(steps) > 6 else "")
