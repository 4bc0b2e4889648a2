"""Host memory stays under the model plus its largest tensor; a shard costs its own bytes only.

Peaks are measured in a process of their own, this file run as a program: there Linux tells the
highest resident set since it was last reset.
"""

import gc
import importlib
import json
import os
import socket
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from safetensors.numpy import save_file

from vldm_jax.interop.find import find
from vldm_jax.interop.load import load, read_host

loading = importlib.import_module("vldm_jax.interop.load")  # the package has `load` in its place
WIDE = {"width": 512, "mlp": 32768, "vocabulary": 30000}  # 200 MB in float32
SMALL = {"width": 64, "mlp": 256, "vocabulary": 96}
LOADER = {"load": lambda file, dtype: load(file, dtype=dtype).params}
LOADER["read_host"] = lambda file, dtype: read_host(find(file)["text_encoder"], dtype).params


def write_text_encoder(path, dtype, width, mlp, vocabulary):
    """A CLIP text encoder of one layer whose largest tensors are read when all else is there."""
    layer = {"layer_norm1": (width,), "layer_norm2": (width,)}
    layer |= {f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")}
    layer |= {"mlp.fc1": (mlp, width), "mlp.fc2": (width, mlp)}
    shapes = {f"encoder.layers.0.{name}": shape for name, shape in layer.items()}
    shapes["final_layer_norm"] = (width,)
    biases = {f"{name}.bias": shape[:1] for name, shape in shapes.items()}
    tables = {"token_embedding": (vocabulary, width), "position_embedding": (8, width)}
    tables = {f"embeddings.{name}.weight": shape for name, shape in tables.items()}
    weights = {f"{name}.weight": shape for name, shape in shapes.items()} | tables
    draw = np.random.default_rng(0)
    arrays = {
        name: draw.random(shape, np.float32).astype(dtype)
        for name, shape in (weights | biases).items()
    }
    save_file(arrays, path)
    return arrays


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    for dtype in (np.float32, np.float16):
        write_text_encoder(folder / f"{np.dtype(dtype)}.safetensors", dtype, **WIDE)
    write_text_encoder(folder / "small.safetensors", np.float32, **SMALL)
    yield folder
    for file in folder.iterdir():  # hundreds of megabytes that pytest would keep
        file.unlink()


def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def measure(loader, file, dtype):
    """Peak above what the process had before, and sizes of what was loaded."""
    LOADER[loader](file, dtype)  # compiles, imports, opens: once is enough for the baseline
    gc.collect()
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = status("VmRSS")
    leaves = jax.tree.leaves(LOADER[loader](file, dtype))
    sizes = [leaf.nbytes for leaf in leaves]
    return {
        "peak": status("VmHWM") - before,
        "kept": status("VmRSS") - before,
        "model": sum(sizes),
        "largest": max(sizes),
        "dtypes": sorted({str(leaf.dtype) for leaf in leaves}),
    }


def run_alone(*arguments, **environment):
    # Every block of some size comes from the system and goes back to it, so that what is freed
    # before the measurement does not hide what is allocated in it.
    environment = {"JAX_PLATFORMS": "cpu", "MALLOC_MMAP_THRESHOLD_": "65536", **environment}
    return subprocess.Popen(
        [sys.executable, "-W", "error", __file__, *arguments],
        env={**os.environ, "XLA_FLAGS": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self of Linux")
def test_peak_is_under_the_model_and_its_largest_tensor(wide):
    cases = [
        ("load", "float32", None),
        ("load", "float32", "bfloat16"),
        ("load", "float16", "float32"),
        ("read_host", "float32", "float16"),
        ("read_host", "float16", None),
    ]
    results = result_of(run_alone("measure", str(wide), json.dumps(cases)))
    for (_, stored, dtype), result in zip(cases, results, strict=True):
        assert result["dtypes"] == [dtype or stored]
        assert result["kept"] > 0.97 * result["model"], "the measurement sees what is loaded"
        # The promise is the whole of the largest tensor; slabs that JAX takes over need less.
        assert result["peak"] < result["model"] + result["largest"] / 2


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.safetensors"
    return file, write_text_encoder(file, np.float32, **SMALL)


@pytest.fixture
def read_bytes(monkeypatch):
    """{key: bytes that were taken out of the file}."""
    counts = {}

    def counting(where, name, array, dtype):
        counts[name] = counts.get(name, 0) + array.nbytes
        return cast(where, name, array, dtype)

    cast = loading.cast
    monkeypatch.setattr(loading, "cast", counting)
    return counts


def split(axes, shape, names):
    """Place kernels in parts along their output, the rest everywhere."""
    mesh = Mesh(np.array(jax.devices()[: int(np.prod(shape))]).reshape(shape), axes)

    def place(path, shape):
        kernel = path.endswith("/kernel")
        return NamedSharding(mesh, PartitionSpec(None, names) if kernel else PartitionSpec())

    return place


@pytest.mark.parametrize("slab", [1, 1000, 1 << 22])
@pytest.mark.parametrize(
    ("axes", "shape", "names"),
    [(("model",), (4,), "model"), (("data", "model"), (2, 2), "model")],
)
def test_devices_hold_their_slices_and_nothing_is_read_twice(
    small, read_bytes, monkeypatch, axes, shape, names, slab
):
    file, arrays = small
    monkeypatch.setattr(loading, "SLAB_BYTES", slab)
    net = load(file, place=split(axes, shape, names))
    fc1 = net.params["encoder"]["layers_0"]["mlp"]["fc1"]["kernel"]
    kernel = arrays["encoder.layers.0.mlp.fc1.weight"].T
    assert fc1.sharding.shard_shape(fc1.shape) == (64, 256 // shape[-1])
    for shard in fc1.addressable_shards:
        np.testing.assert_array_equal(shard.data, kernel[shard.index])
    bias = net.params["final_layer_norm"]["bias"]
    for shard in bias.addressable_shards:
        np.testing.assert_array_equal(shard.data, arrays["final_layer_norm.bias"])
    # Also where two devices hold the same part.
    assert read_bytes == {name: array.nbytes for name, array in arrays.items()}


def test_one_sharding_for_all_is_a_place(small):
    file, arrays = small
    mesh = Mesh(np.array(jax.devices()), ("all",))
    net = load(file, place=NamedSharding(mesh, PartitionSpec("all")), dtype="bfloat16")
    table = net.params["embeddings"]["token_embedding"]["embedding"]
    expected = arrays["embeddings.token_embedding.weight"].astype(ml_dtypes.bfloat16)
    assert [shard.data.shape for shard in table.addressable_shards] == [(24, 64)] * 4
    np.testing.assert_array_equal(table, expected)


def test_arrays_are_taken_over_and_stay_what_they_are_when_donated(small):
    """They own their memory: neither the file nor another array lies under them."""
    file, arrays = small
    kernel = load(file).params["encoder"]["layers_0"]["mlp"]["fc2"]["kernel"]
    twice = jax.jit(lambda x: 2 * x, donate_argnums=0)(kernel)
    np.testing.assert_array_equal(twice, 2 * arrays["encoder.layers.0.mlp.fc2.weight"].T)
    file.write_bytes(bytes(file.stat().st_size))
    np.testing.assert_array_equal(twice, 2 * arrays["encoder.layers.0.mlp.fc2.weight"].T)


@pytest.mark.slow
def test_each_of_two_processes_reads_its_own_bytes(small):
    file, arrays = small
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [run_alone("process", str(file), port, str(i)) for i in range(2)]
    try:
        results = [result_of(process) for process in processes]
    finally:
        for process in processes:  # one waits for ever for another that has failed
            process.kill()
            process.communicate()
    for counts in results:
        for name, array in arrays.items():
            share = 2 if name.endswith(".weight") and array.ndim == 2 else 1
            share = 1 if "embedding" in name else share
            assert counts[name] == array.nbytes // share


def main(command, file, *arguments):
    """Run as a program: print a result as JSON."""
    if command == "measure":
        cases = json.loads(arguments[0])
        measure("load", f"{file}/small.safetensors", None)
        print(
            json.dumps([measure(how, f"{file}/{kind}.safetensors", to) for how, kind, to in cases])
        )
        return
    port, index = arguments
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(index))
    counts, cast = {}, loading.cast

    def counting(where, name, array, dtype):
        counts[name] = counts.get(name, 0) + array.nbytes
        return cast(where, name, array, dtype)

    loading.cast = counting
    params = load(file, place=split(("model",), (2,), "model")).params
    fc1 = params["encoder"]["layers_0"]["mlp"]["fc1"]["kernel"]
    assert not fc1.is_fully_addressable and len(fc1.addressable_shards) == 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
