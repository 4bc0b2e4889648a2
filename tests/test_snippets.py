"""Every Python block of README and docs runs as it stands; every command there is understood."""

import re
import shlex
from pathlib import Path

import pytest

from vldm_jax.cli.flags import load_config
from vldm_jax.cli.main import COMMANDS
from vldm_jax.stages.plan import make_plan

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Needs a folder of public weights: run in tests/interop/test_readme.py on a small one.
ELSEWHERE = {"interop.md"}


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def with_code():
    """Pages that have blocks; the README's samples with the shipped model, which takes long."""
    for page in filter(blocks, PAGES):
        marks = pytest.mark.slow if page.name == "README.md" else ()
        yield pytest.param(page, marks=marks, id=page.name)


@pytest.mark.parametrize("page", list(with_code()))
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    if page.name in ELSEWHERE:
        return
    config = load_config(str(ROOT / "configs" / "driving" / "video.py") + ":tiny")
    config.unlock()
    monkeypatch.chdir(tmp_path)
    scope = {"config": config}
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page.name}, block {number}", "exec"), scope)
    if page.name == "README.md":
        assert scope["frames"].shape == (4 * (8 + 6 - 1), 64, 128, 3)
        assert (tmp_path / "drive.mp4").stat().st_size > 1000
    if "get_config" in scope:
        make_plan(scope["get_config"]())


def commands():
    """Every `vldm ...` line of the documents, continuation lines joined, variables left alone."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^(?:    )?(vldm .*)$", text, re.MULTILINE):
            yield page.name, line.split("  #")[0].strip()


@pytest.mark.parametrize(("page", "line"), list(commands()), ids=lambda value: value[:60])
def test_commands_exist_and_their_configs_fit_together(page, line):
    words = [word.strip("\"'") for word in shlex.split(line)]
    assert words[1] in COMMANDS
    flags = dict(zip(words, words[1:], strict=False))
    if "--config" not in words or words[1] != "train" or "$" in line:
        return
    overrides = [word for word in words if word.startswith("--config.")]
    make_plan(load_config(str(ROOT / flags["--config"]), overrides))
