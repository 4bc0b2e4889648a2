"""Programs: a network or a sampler in a folder that runs without this project.

    program.stablehlo    what to compute: `jax.export`, lowered for all platforms at once
    weights.safetensors  {path: array}, the program's first argument
    program.json         inputs, outputs, platforms, the jax that wrote it, a description
    README.md            the same for people, and the few lines that load and call it

    program(params, *, z, time, ...) -> array              # a flat dict, then inputs by name

Weights are an argument and not constants of the program: it stays small (below 1 MB for the video
U-Net of SD 2.1), and weights of another run of the same network can take their place. Fixed at
export are types, shapes (but for a batch axis, if asked for) and what the function closes over, for
a sampler its grid and random streams. Nothing is compiled here; XLA does that where it is called.

Not here: which function of a trained stage to write, several devices, gradients, ROCm.

Source: https://docs.jax.dev/en/latest/export/export.html.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
from jax import export

from vldm_jax.checkpoint.weights import DTYPES, load_weights, save_weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new, sha256, write_json
from vldm_jax.core.json_files import read_json
from vldm_jax.export.readme import PROGRAM, RUNS_WITH, WEIGHTS, readme
from vldm_jax.typing import Array, PyTree

PLATFORMS = ("cpu", "cuda", "tpu")
META = "program.json"
# What jax would note of where each operation came from: folders of the machine that exports.
_NO_LOCATIONS = {
    "jax_include_full_tracebacks_in_locations": False,
    "jax_hlo_source_file_canonicalization_regex": ".*",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A loaded program with its weights.

    Attributes:
        folder: where it came from, for messages.
        exported: what `jax.export` read.
        params: {path: array}, on the default device.
        meta: what `program.json` holds.
    """

    folder: str
    exported: export.Exported
    params: dict[str, Array]
    meta: dict[str, Any]

    def __call__(self, **inputs: Any) -> PyTree:
        """Return the program's result for inputs by name; compiles for new shapes.

        Raises:
            InputError: if an input is missing, unknown or of another shape or type.
        """
        arrays = {name: jnp.asarray(value) for name, value in inputs.items()}
        _check_inputs(self.folder, self.meta["inputs"], arrays)
        return self._compiled(self.params, **arrays)

    @functools.cached_property
    def _compiled(self) -> Callable[..., PyTree]:
        return jax.jit(self.exported.call)


def save_program(
    folder: str | os.PathLike[str],
    function: Callable[..., PyTree],
    params: PyTree,
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    *,
    description: Mapping[str, Any],
    platforms: Sequence[str] = PLATFORMS,
    batch: str | None = None,
    dtype: str | None = None,
) -> None:
    """Write `function` and its weights as a program, the folder whole or not at all.

    Args:
        folder: where to write; absent or empty.
        function: function(params, **inputs) -> array, or a dict or tuple of arrays; traceable.
        params: nested dict of arrays; what `function` does not need is better left out.
        inputs: what `function` takes by name.
        description: JSON values that say what this is, for people.
        platforms: of `PLATFORMS`; jax's name of NVIDIA GPUs is "cuda", and "gpu" is taken for it.
        batch: name of a first axis that all inputs share and that stays open; None fixes it.
        dtype: "float32", "bfloat16" or "float16" to store floating weights in, and to give them to
            `function` in; None keeps theirs.

    Raises:
        InputError: if the folder holds something, a platform or the dtype is unknown.
        Exception: what `function` raises when traced; a ValueError of jax for an operation without
            a lowering that is stable or serves all platforms.
    """
    path = Path(folder).absolute()
    check_new(path)
    platforms = ["cuda" if name == "gpu" else name for name in platforms]
    if unknown := [name for name in platforms if name not in PLATFORMS]:
        raise InputError(f"a program cannot be written for {unknown[0]!r}; there are {PLATFORMS}")
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"{dtype=}: choose one of {tuple(DTYPES)}")
    weights = {k: _spec(leaf, dtype) for k, leaf in paths.flatten(params).items()}
    with _without_locations():
        program = _export(function, weights, _opened(inputs, batch), platforms)
    blob = program.serialize(vjp_order=0)
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / PROGRAM).write_bytes(blob)
        meta = _meta(program, inputs, description) | {"sha256": sha256(temporary / PROGRAM)}
        about = {"kind": "program", "config": dict(description)}
        save_weights(temporary / WEIGHTS, params, about, dtype=dtype)
        write_json(temporary / META, meta)
        (temporary / "README.md").write_text(readme(meta), encoding="utf-8")


def load_program(folder: str | os.PathLike[str]) -> Program:
    """Return a program of `save_program`, checked, with its weights on the default device.

    Raises:
        InputError: if a file is missing or damaged, the weights are not the program's, or it was
            not written for this platform or not for a jax as old or new as this one.
    """
    path = Path(folder)
    meta = _read_meta(path)
    # Before it is parsed: the format has no checks of its own.
    if not (path / PROGRAM).is_file() or sha256(path / PROGRAM) != meta["sha256"]:
        raise InputError(f"{path / PROGRAM} is missing or damaged: fetch or export it again")
    try:
        exported = export.deserialize(bytearray((path / PROGRAM).read_bytes()))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise InputError(_other_jax(path, meta, str(error))) from error
    params = paths.flatten(load_weights(path / WEIGHTS)[0])
    (expected,), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    paths.check_fits(path / WEIGHTS, params, expected)
    for name, leaf in params.items():
        if leaf.dtype != expected[name].dtype:
            raise InputError(
                f"{path / WEIGHTS} has {name!r} in {leaf.dtype}, the program takes "
                f"{expected[name].dtype}: export it again"
            )
    return Program(str(folder), exported, jax.device_put(params), meta)


def _export(
    function: Callable[..., PyTree],
    weights: Mapping[str, jax.ShapeDtypeStruct],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    platforms: Sequence[str],
) -> export.Exported:
    def program(flat: dict[str, Array], **named: Array) -> PyTree:
        return function(paths.unflatten(flat), **named)

    return export.export(jax.jit(program), platforms=platforms)(dict(weights), **inputs)


@contextlib.contextmanager
def _without_locations() -> Iterator[None]:
    before = {name: getattr(jax.config, name) for name in _NO_LOCATIONS}
    try:
        for name, value in _NO_LOCATIONS.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def _opened(
    inputs: Mapping[str, jax.ShapeDtypeStruct], batch: str | None
) -> dict[str, jax.ShapeDtypeStruct]:
    if batch is None:
        return dict(inputs)
    (size,) = export.symbolic_shape(batch)
    return {k: jax.ShapeDtypeStruct((size, *s.shape[1:]), s.dtype) for k, s in inputs.items()}


def _spec(leaf: Any, dtype: str | None) -> jax.ShapeDtypeStruct:
    kept = dtype is None or not jnp.issubdtype(leaf.dtype, jnp.floating)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype if kept else DTYPES[dtype])


def _meta(
    program: export.Exported, names: Iterable[str], description: Mapping[str, Any]
) -> dict[str, Any]:
    _, inputs = jax.tree.unflatten(program.in_tree, program.in_avals)  # sorted by name
    outputs, _ = jax.tree.flatten_with_path(jax.tree.unflatten(program.out_tree, program.out_avals))
    return {
        "description": dict(description),
        "inputs": {name: _array(inputs[name]) for name in names},
        "outputs": {f"result{jax.tree_util.keystr(key)}": _array(aval) for key, aval in outputs},
        "platforms": list(program.platforms),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "runs_with": RUNS_WITH.format(jaxlib=jaxlib.__version__),
        "calling_convention": program.calling_convention_version,
    }


def _array(aval: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in aval.shape]
    return {"shape": shape, "dtype": aval.dtype.name}


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    if not path.is_file():
        raise InputError(f"{folder} is no program: there is no {path}")
    meta = read_json(path, "the description of a program", remedy="fetch or export it again")
    try:
        convention, platforms = meta["calling_convention"], meta["platforms"]
        arrays = [(array["shape"], array["dtype"]) for array in meta["inputs"].values()]
        _ = meta["sha256"], meta["jax"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error!r}): fetch or export it again") from error
    typed = all(isinstance(shape, list) and isinstance(dtype, str) for shape, dtype in arrays)
    if type(convention) is not int or not isinstance(platforms, list) or not typed:
        raise InputError(f"{path} is damaged (a value of another type): fetch or export it again")
    oldest = export.minimum_supported_calling_convention_version
    newest = export.maximum_supported_calling_convention_version
    if not oldest <= convention <= newest:
        why = f"it has calling convention {convention}, this one runs {oldest} to {newest}"
        raise InputError(_other_jax(folder, meta, why))
    if (here := export.default_export_platform()) not in platforms:
        raise InputError(f"{folder} was written for {platforms}, not for {here}: export it again")
    return meta


def _other_jax(folder: Path, meta: Mapping[str, Any], why: str) -> str:
    return (
        f"{folder} was written by jax {meta['jax']}, and jax {jax.__version__} does not run it "
        f"({why}): use a jax closer to it, or export it again with this one"
    )


def _check_inputs(
    folder: str, expected: Mapping[str, Mapping[str, Any]], inputs: Mapping[str, Array]
) -> None:
    if inputs.keys() != expected.keys():
        raise InputError(f"{folder} takes {', '.join(expected)}, got {', '.join(inputs)}")
    open_sizes: dict[str, int] = {}
    for name, array in inputs.items():
        shape, dtype = expected[name]["shape"], expected[name]["dtype"]
        sizes = zip(shape, array.shape, strict=False)
        want = tuple(open_sizes.setdefault(s, n) if isinstance(s, str) else s for s, n in sizes)
        if len(shape) != array.ndim or want != array.shape or array.dtype.name != dtype:
            raise InputError(
                f"{folder} takes {name!r} of shape {tuple(open_sizes.get(s, s) for s in shape)} "
                f"and type {dtype}, got {array.shape}, {array.dtype.name}"
            )
