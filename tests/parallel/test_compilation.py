"""Compiled programs come back from the disk, whole, and compute the same bits."""

import os

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from vldm_jax.parallel import compilation
from vldm_jax.parallel.compilation import compilations_kept


@pytest.fixture(autouse=True)
def no_cache_of_the_suite():
    """The suite gives jax a folder, which wins: it is put aside here."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.fixture
def shared(tmp_path, monkeypatch):
    monkeypatch.setenv("VLDM_COMPILATION_CACHE", str(tmp_path))
    return tmp_path / compilation._machine()


def compiled(x):
    """Compile anew, in a context of its own; return the result and how often the disk had it."""
    hits = []

    def listen(event, **_):
        hits.extend([event] if event.endswith("/cache_hits") else [])

    def kept_for_later(x):
        return jnp.tanh(x @ x.T).sum(axis=0)

    jax.monitoring.register_event_listener(listen)
    try:
        with compilations_kept():
            result = np.asarray(jax.jit(kept_for_later)(x))
    finally:
        jax.monitoring.unregister_event_listener(listen)
    return result, len(hits)


def entries(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith("jit_kept_for_later-")]


def test_a_second_start_finds_what_the_first_compiled(shared):
    x = np.random.default_rng(0).normal(size=(17, 5)).astype(np.float32)
    first, hits = compiled(x)
    assert hits == 0 and len(entries(shared)) == 1
    second, hits = compiled(x)
    assert hits >= 1 and len(entries(shared)) == 1
    np.testing.assert_array_equal(second, first)
    assert not list(shared.glob(".vldm-partial"))
    assert jax.config.jax_compilation_cache_dir is None


def test_what_is_compiled_is_kept_at_once(shared):
    with compilations_kept():
        jax.jit(lambda x: x * 3 + 1)(np.ones(3, np.float32))
        assert len(list(shared.glob("*-cache"))) == 1


def test_an_entry_that_is_not_whole_is_compiled_again(shared):
    x = np.ones((3, 2), np.float32)
    first, _ = compiled(x)
    (name,) = entries(shared)
    (shared / name).write_bytes((shared / name).read_bytes()[:100])
    with pytest.warns(UserWarning, match="Error reading persistent compilation cache"):
        second, hits = compiled(x)
    assert hits == 0
    np.testing.assert_array_equal(second, first)


def test_it_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("VLDM_COMPILATION_CACHE", "off")
    compiled(np.ones((4, 2), np.float32))
    assert not list(tmp_path.iterdir())
    monkeypatch.delenv("VLDM_COMPILATION_CACHE")
    compiled(np.ones((4, 2), np.float32))
    assert list((tmp_path / "vldm_jax" / "compiled").rglob("jit_kept_for_later-*-cache"))


def test_a_folder_that_cannot_be_written_is_said_and_no_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VLDM_COMPILATION_CACHE", str(tmp_path / "file"))
    compiled(np.ones((5, 2), np.float32))
    assert capsys.readouterr().err.startswith("compiled programs are not kept: ")


def test_the_oldest_go_first(shared, monkeypatch):
    shared.mkdir(parents=True)
    for age, name in enumerate(("new", "old", "older")):
        (shared / f"{name}-cache").write_bytes(bytes(100))
        os.utime(shared / f"{name}-cache", (1000 - age, 1000 - age))
    monkeypatch.setattr(compilation, "LIMIT", 150)
    with compilations_kept():
        assert [path.name for path in shared.glob("*-cache")] == ["new-cache"]


def test_what_was_used_lately_stays(shared, monkeypatch):
    shared.mkdir(parents=True)
    for name, used, written in (("daily", 2000, 10), ("once", 1000, 1000)):
        (shared / f"{name}-cache").write_bytes(bytes(100))
        os.utime(shared / f"{name}-cache", (used, written))
    monkeypatch.setattr(compilation, "LIMIT", 150)
    with compilations_kept():
        assert [path.name for path in shared.glob("*-cache")] == ["daily-cache"]


def test_only_new_entries_are_linked(shared, monkeypatch):
    """Thousands are there already, and each of many programs would try them all again."""
    shared.mkdir(parents=True)
    (shared / "old-cache").write_bytes(b"old")
    with compilations_kept():
        tried, link = [], os.link
        monkeypatch.setattr(os, "link", lambda a, b: (tried.append(a.name), link(a, b)))
        for scale in (5, 6):
            jax.jit(lambda x, scale=scale: x * scale)(np.ones(3, np.float32))
    assert len(tried) == len(set(tried)) >= 2 and "old-cache" not in tried
