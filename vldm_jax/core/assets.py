"""Files that ship inside the package, named "asset:NAME" wherever a path is expected."""

from pathlib import Path

from vldm_jax.core.errors import InputError

ROOT = Path(__file__).parent.parent / "assets"
SCHEME = "asset:"


def is_shipped(path: str) -> bool:
    """Return whether there is a file or folder of the name "asset:NAME"."""
    return (ROOT / path.removeprefix(SCHEME)).exists()


def resolve(path: str) -> Path:
    """Return the file or folder that `path` names, with "asset:" looked up in the package.

    Raises:
        InputError: if it does not exist.
    """
    shipped = path.startswith(SCHEME)
    found = ROOT / path.removeprefix(SCHEME) if shipped else Path(path).expanduser()
    if found.exists():
        return found
    if shipped:
        names = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.safetensors"))
        raise InputError(f"no file {path!r} ships with this version; there are {names}")
    raise InputError(f"no such file or folder: {path!r}; give the path of an existing one")
