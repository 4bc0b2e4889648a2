"""Which code this is: what a long table of results notes of each of its parts."""

import hashlib
import subprocess
from pathlib import Path

import vldm_jax

PACKAGE = Path(vldm_jax.__file__).parent


def identity(package: Path = PACKAGE) -> dict[str, str]:
    """Return version and SHA-256 of a package's sources, and its git revision if it has one.

    The sum tells two codes apart, also where changes were never committed; the rest is to read.

    Args:
        package: folder of sources.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    found = {"version": vldm_jax.__version__, "sha256": digest.hexdigest()}
    return found | ({"revision": name} if (name := _revision(package)) else {})


def _revision(package: Path) -> str:
    if not (package.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(package), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, or one that does not trust the folder
        return ""
    return done.stdout.strip()
