"""A network of a run, of a weights file or of a public checkpoint, written for others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vldm_jax.core.assets import resolve
from vldm_jax.core.errors import InputError
from vldm_jax.core.files import atomic_path, check_new, sha256
from vldm_jax.export import trained
from vldm_jax.export.functions import Function, network_functions
from vldm_jax.export.program import save_program
from vldm_jax.interop.card import model_card
from vldm_jax.interop.find import find
from vldm_jax.interop.finite import check_finite
from vldm_jax.interop.load import read
from vldm_jax.interop.save import save
from vldm_jax.models.network import Network
from vldm_jax.models.table import TEMPORAL

BATCH = "b"  # name of the axis that programs leave open


def find_network(
    source: str, *, part: str | None, raw: str | None, onto: str | None, non_finite: bool
) -> tuple[Network, list[str]]:
    """Return the network to export with what is known of its run, and notes for the user.

    Args:
        source: a run's workdir, a weights file, or anything that `interop.load` takes.
        part: of several networks, which one.
        raw: of a workdir, the tree of its checkpoints with the parameters to take instead of
            their moving average; None for the average.
        onto: image U-Net that temporal layers are put on.
        non_finite: take weights with values that are NaN or infinite.

    Raises:
        InputError: if there is none or several, or `raw` or `onto` does not apply.
    """
    found = find(source, part=part)
    if len(found) > 1:
        raise InputError(f"{source} holds {', '.join(found)}: choose one with --part")
    (unread,) = found.values()
    network = read(unread, None)
    root = resolve(source)
    if raw is not None:
        trained.raw_weights(network, root, raw)
    if root.is_dir():
        trained.describe_run(network, root)
    notes = check_finite(network, unread, allowed=non_finite)
    if onto is None:
        return network, notes
    if network.kind != TEMPORAL:
        raise InputError(f"--onto is for temporal layers, {source} is {network.kind!r}")
    (unread,) = find(onto, part="unet").values()
    backbone = read(unread, None)
    notes += check_finite(backbone, unread, allowed=non_finite)
    return network.onto(backbone), notes + _moved(network, onto)


def _moved(network: Network, onto: str) -> list[str]:
    """Say so if temporal layers go onto another backbone than theirs."""
    recorded, file = network.meta.get("backbone"), resolve(onto)
    if recorded is None or (file.is_file() and sha256(file) == recorded["sha256"]):
        return []
    return [f"trained on {recorded['name']} (sha256 {recorded['sha256'][:12]}...), put on {onto}"]


def export_weights(network: Network, out: str | Path, dtype: str | None) -> None:
    """Write a weights file of this project and its model card; for temporal layers, the way out.

    Raises:
        InputError: if the folder holds something else.
    """
    check_new(out)
    with atomic_path(out) as folder:
        folder.mkdir(parents=True)
        save(network, folder / f"{network.kind}.safetensors", dtype=dtype)
        (folder / "README.md").write_text(model_card(network), encoding="utf-8")


def export_network(
    network: Network, out: str | Path, dtype: str | None, sizes: Mapping[str, Any]
) -> None:
    """Write a network's functions as programs: one in `out`, or one a sub-folder.

    Args:
        network: of any kind but temporal layers.
        out: folder.
        dtype: of the weights; None keeps theirs.
        sizes: arguments of `network_functions`.
    """
    functions = network_functions(network, **sizes)
    check_new(out)
    with atomic_path(out) as whole:
        for name, function in functions.items():
            folder = whole / name if len(functions) > 1 else whole
            about = {"kind": network.kind, "function": name, "config": network.fields}
            write_function(function, folder, about | network.meta, dtype)


def write_function(
    function: Function, folder: str | Path, about: Mapping[str, Any], dtype: str | None
) -> None:
    """Write a function as a program whose batch is open.

    Args:
        function: of a network, or a stage's sampler.
        folder: where to write; absent or empty.
        about: JSON values that say what it is of, for people.
        dtype: of the weights; None keeps theirs.
    """
    known = (*function.inputs, "result")
    meanings = {name: text for name, text in function.meanings.items() if name in known}
    save_program(
        folder,
        function.call,
        function.params,
        function.inputs,
        description={**about, **meanings},
        batch=BATCH,
        dtype=dtype,
    )
