"""The one exception for what a user can put right.

Anything else that escapes is a defect of the library and keeps its traceback; the command line
turns an `InputError` into one line on standard error and exit code 2.
"""

import contextlib
from collections.abc import Iterator


class InputError(ValueError):
    """Something given by the user cannot be used: the message says what, where and what to do."""


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Put where it is before every input error of this context, unless it says so itself.

    Raises:
        InputError: "WHERE: what was said".
    """
    try:
        yield
    except InputError as error:
        if str(error).startswith(f"{where}: "):
            raise
        raise InputError(f"{where}: {error}") from error
