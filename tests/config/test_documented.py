"""docs/configs.md names every key and every choice that configs have."""

import re
from pathlib import Path

import pytest

from vldm_jax.cli.flags import load_config
from vldm_jax.config.diffusion import GRIDS, SCHEDULES, SOLVERS
from vldm_jax.models.table import FAMILIES
from vldm_jax.stages.table import STAGES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configs.md").read_text()
WORDS = set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`]*)`", PAGE))))
STACKS = sorted((ROOT / "configs").glob("*/stack.py"))
FILES = sorted(set((ROOT / "configs").glob("*/*.py")) - set(STACKS))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_key_is_in_the_table(path):
    config = load_config(str(path))
    keys = {f"{name}" for name in config} | {
        key for name in config if name != "seed" for key in config[name]
    }
    fields = set(config.train.groups)
    assert keys - fields - WORDS == set()
    assert f"{path.parent.name}/{path.stem}" in PAGE


@pytest.mark.parametrize("path", STACKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_stack_s_keys_and_parts_are_on_its_page(path):
    page = (ROOT / "docs" / "stack.md").read_text()
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", page))))
    config = load_config(str(path))
    assert {
        *config,
        *config.parts,
        *(key for part in config.parts.values() for key in part),
    } <= words
    assert f"configs/{path.parent.name}/stack.py" in page


@pytest.mark.parametrize("table", [SOLVERS, GRIDS, SCHEDULES, STAGES, FAMILIES])
def test_every_choice_is_named(table):
    assert set(table) - WORDS == set()
