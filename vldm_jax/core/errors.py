"""The one exception for what a user can put right.

Anything else that escapes is a defect of the library and keeps its traceback; the command line
turns an `InputError` into one line on standard error and exit code 2.
"""


class InputError(ValueError):
    """Something given by the user cannot be used: the message says what, where and what to do."""
