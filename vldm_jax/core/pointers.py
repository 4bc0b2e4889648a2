"""Git LFS pointers: what lies in a folder that was cloned without the files themselves."""

from pathlib import Path

from vldm_jax.core.errors import InputError

START = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Raise if a file is a Git LFS pointer.

    Raises:
        InputError: saying how to get the file itself.
    """
    with path.open("rb") as file:
        if file.read(len(START)) == START:
            raise InputError(
                f"{path} is a Git LFS pointer, not the file itself: run git lfs pull in its "
                "folder, or download the file"
            )
