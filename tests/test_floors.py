"""Imports point down: the floors of the house, read from the source."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vldm_jax"

# What each package may import beside itself (docs/architecture.md). Absent: nothing may import it.
BASE = {"typing", "core"}
ALLOWED = {
    "typing": set(),
    "core": {"typing"},
    "diffusion": BASE,
    "nn": BASE,
    "data": BASE,
    "parallel": BASE,
    "conditions": BASE | {"nn"},
    "models": BASE | {"nn", "conditions"},
    "sampling": BASE | {"diffusion", "parallel"},
    "checkpoint": BASE | {"parallel"},
    "interop": BASE | {"nn", "models", "checkpoint"},
    "export": BASE | {"nn", "conditions", "models", "checkpoint", "interop"},
    "training": BASE | {"diffusion", "parallel", "checkpoint"},
    "evals": BASE | {"nn", "data", "models", "parallel", "interop", "sampling"},
    "driving": BASE | {"data"},
}
SYSTEMS = set(ALLOWED) - {"driving"}
FLOORS = ALLOWED | {
    "config": BASE | {"data", "diffusion", "models", "sampling", "training"},
    "stages": SYSTEMS | {"config"},
    "samplers": SYSTEMS | {"config", "stages"},
    "stack": SYSTEMS | {"config", "stages"},
    "cli": set(ALLOWED) | {"config", "stages", "stack"},
    "__main__": {"cli"},
    "__init__": set(),
}
ORDER = [  # floor 0, 1, ... 5, and what starts the commands
    {"typing", "core", "__init__"},
    {"diffusion", "nn", "conditions", "data", "parallel"},
    {"models", "sampling", "checkpoint", "interop", "driving"},
    {"training", "evals", "export"},
    {"config"},
    {"stages"},
    {"samplers", "stack"},
    {"cli"},
    {"__main__"},
]
OUTSIDERS = {  # libraries that a package must not know
    "data": {"jax", "flax", "optax"},
    "driving": {"jax", "flax", "optax"},
    "diffusion": {"flax", "optax", "orbax"},
    "nn": {"optax", "orbax", "grain"},
    "conditions": {"optax", "orbax", "grain"},
    "sampling": {"flax", "optax", "ml_collections"},
    "interop": {"optax", "ml_collections"},
    "export": {"optax", "ml_collections"},
}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    """First part of a module's name below the package: its package or, at the top, itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """Every module that a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from vldm_jax import build` names the module in the alias.
            if node.module == "vldm_jax":
                found += [f"vldm_jax.{alias.name}" for alias in node.names]
            else:
                found.append(node.module)
    return found


def violations(path: Path) -> list[str]:
    """Imports of `path` that point up or at a library its floor must not know."""
    here = place(path)
    bad = []
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "vldm_jax" and rest and rest[0] not in FLOORS[here] | {here, "__version__"}:
            bad.append(name)
        if top in OUTSIDERS.get(here, set()):
            bad.append(name)
    return bad


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    assert violations(path) == []


def test_an_import_that_points_up_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    bad = tmp_path / "nn" / "bad.py"
    bad.parent.mkdir()
    bad.write_text("def f():\n    from vldm_jax.training import loop\n    import optax\n")
    assert violations(bad) == ["vldm_jax.training", "optax"]


def test_the_table_points_down():
    floor = {name: number for number, names in enumerate(ORDER) for name in names}
    assert floor.keys() == FLOORS.keys()
    pairs = [(name, other) for name, allowed in FLOORS.items() for other in allowed]
    assert [pair for pair in pairs if floor[pair[0]] < floor[pair[1]]] == []


def test_the_table_has_no_cycle():
    graph = {name: allowed - {name} for name, allowed in FLOORS.items()}
    while graph:
        bottom = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert bottom, f"cycle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in bottom}
