"""Programs: equal to what was exported, runnable without the library, refused when damaged."""

import json
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
from jax import export

from vldm_jax.checkpoint.weights import save_weights
from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.core.rng import stream
from vldm_jax.diffusion.denoiser import make_denoiser
from vldm_jax.diffusion.schedules import ScaledLinearSchedule
from vldm_jax.export import load_program, save_program
from vldm_jax.models.unet import UNet
from vldm_jax.nn.temporal import TemporalSpec
from vldm_jax.sampling import grids
from vldm_jax.sampling.loop import sample
from vldm_jax.sampling.noise import sample_keys
from vldm_jax.sampling.solvers.ancestral import Ancestral

FIELDS = {"attention": (True,), "layers_per_level": 1, "heads": 2, "context_dim": 4}
FIELDS |= {"norm_groups": 4, "temporal": TemporalSpec()}
NET = UNet(channels=(8,), **FIELDS)
WIDE = UNet(channels=(192,), **FIELDS)
FRAMES, SIZE = 2, (4, 6, 4)
SHAPES = {"z": (1, FRAMES, *SIZE), "time": (1,), "context": (1, 3, 4)}
STRUCTS = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in SHAPES.items()}
# The program in its README, with the library made impossible to import.
ALONE = """
import sys
import numpy as np
sys.modules["vldm_jax"] = None
names = {}
exec(open(sys.argv[1]).read(), names)
assert not {"flax", "einops", "orbax"} & sys.modules.keys()
np.save(sys.argv[2], np.asarray(names["result"], np.float32))
"""


def denoise(net):
    def function(params, z, time, context):
        cond = {"context": context}
        return net.apply({"params": params}, z, time, cond, train=False)

    return function


def random_params(net, seed):
    """Every parameter random: no zero hides a path."""
    zeros = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
    cond = {"context": zeros["context"]}
    shapes = jax.eval_shape(
        lambda key: net.init(key, zeros["z"], zeros["time"], cond, train=False)["params"],
        jax.random.key(0),
    )
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.normal(0.0, 0.3, s.shape).astype(np.float32), shapes)


def random_inputs(batch):
    rng = np.random.default_rng(batch)
    return {k: rng.normal(size=(batch, *s[1:])).astype(np.float32) for k, s in SHAPES.items()}


def assert_equal_to_rounding(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.std(b))


PARAMS = random_params(NET, seed=0)


def save_sum(folder, bias=1.0, **options):
    """Save x + bias for three values: for what does not depend on the function."""
    params = {"a": {"bias": np.full(3, bias, np.float32)}}
    inputs = {"x": jax.ShapeDtypeStruct((3,), jnp.float32)}
    function = options.pop("function", lambda params, x: x + params["a"]["bias"])
    save_program(folder, function, params, inputs, description={}, **options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs") / "net"
    save_program(folder, denoise(NET), PARAMS, STRUCTS, description={"what": "tiny"}, batch="b")
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    """The program in a folder of its own, to be damaged."""
    return shutil.copytree(saved, tmp_path / "net")


@pytest.mark.slow
def test_a_loaded_network_is_the_network_at_another_batch(saved):
    inputs = random_inputs(3)
    expected = jax.jit(denoise(NET))(PARAMS, **inputs)
    assert np.std(expected) > 0.1
    assert_equal_to_rounding(load_program(saved)(**inputs), expected)


def run_alone(folder, out):
    """Run the README's program in a process that has no vldm_jax; return its result."""
    snippet = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    assert len(snippet.splitlines()) <= 15
    (out / "snippet.py").write_text(snippet)
    command = [sys.executable, "-c", ALONE, out / "snippet.py", out / "result.npy"]
    subprocess.run(command, cwd=folder, check=True)
    return np.load(out / "result.npy")


@pytest.mark.slow
def test_the_readme_runs_without_this_project(saved, tmp_path):
    zeros = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    expected = load_program(saved)(**zeros)
    assert np.std(expected) > 0.1
    assert_equal_to_rounding(run_alone(saved, tmp_path), expected)


def test_half_weights_run_without_this_project(tmp_path):
    save_sum(tmp_path / "p", bias=1 + 2**-9, dtype="bfloat16")  # no bfloat16: it becomes 1
    assert load_program(tmp_path / "p").params["a/bias"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(run_alone(tmp_path / "p", tmp_path), 1.0)


def test_several_results_have_names(tmp_path):
    save_sum(tmp_path / "p", function=lambda params, x: {"y": (x, x > 0)})
    program = load_program(tmp_path / "p")
    assert list(program.meta["outputs"]) == ["result['y'][0]", "result['y'][1]"]
    np.testing.assert_array_equal(program(x=[-1.0, 0.0, 1.0])["y"][1], [False, False, True])


def test_a_sampler_draws_the_noise_of_each_index(tmp_path):
    """A scan, keys made inside, bytes out: what a trained stage is exported as.

    Its network is as small as a function of all inputs and of parameters can be.
    """
    schedule, root = ScaledLinearSchedule(), jax.random.key(7)
    normal = jax.vmap(lambda key: jax.random.normal(key, (FRAMES, *SIZE)))
    weights = {"a": {"kernel": random_inputs(1)["context"][0].T}}

    def frames(params, index, context):
        def predict(z, time):
            shift = (context @ params["a"]["kernel"]).sum((1, 2)) + jnp.cos(time)
            return jnp.tanh(z + shift[:, None, None, None, None])

        z = sample(
            make_denoiser(predict, schedule, "epsilon"),
            Ancestral(),
            grids.trailing(schedule, 3),
            normal(sample_keys(stream(root, "noise"), index)),
            sample_keys(stream(root, "solver"), index),
        )
        return jnp.round((jnp.tanh(z) + 1.0) * 127.5).astype(jnp.uint8)

    inputs = {"index": jax.ShapeDtypeStruct((1,), jnp.int32), "context": STRUCTS["context"]}
    save_program(tmp_path / "s", frames, weights, inputs, description={}, batch="b")
    program = load_program(tmp_path / "s")
    index, context = jnp.array([5, 6]), random_inputs(2)["context"]
    result = program(index=index, context=context)
    expected = jax.jit(frames)(weights, index, context)
    assert result.dtype == jnp.uint8 and result.std() > 10
    np.testing.assert_array_equal(result, expected)


def test_one_program_serves_all_platforms(saved):
    exported = export.deserialize(bytearray((saved / "program.stablehlo").read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    meta = json.loads((saved / "program.json").read_text())
    assert meta["platforms"] == list(exported.platforms) and meta["jax"] == jax.__version__
    assert meta["inputs"]["z"] == {"shape": ["b", FRAMES, *SIZE], "dtype": "float32"}
    assert meta["outputs"] == {"result": {"shape": ["b", FRAMES, *SIZE], "dtype": "float32"}}


def test_gpu_is_called_cuda(tmp_path):
    save_sum(tmp_path / "net", platforms=("gpu", "cpu"))
    assert load_program(tmp_path / "net").exported.platforms == ("cuda", "cpu")


def test_weights_are_not_in_the_program(tmp_path):
    params = random_params(WIDE, seed=1)
    save_program(tmp_path / "net", denoise(WIDE), params, STRUCTS, description={})
    files = ("program.stablehlo", "weights.safetensors")
    program, weights = ((tmp_path / "net" / name).stat().st_size for name in files)
    assert weights > 4 * paths.count(jax.tree.leaves(params))
    assert program < weights / 10


def test_weights_of_another_run_can_take_their_place(tmp_path):
    for bias in (1.0, 5.0):
        save_sum(tmp_path / f"{bias}", bias)
    (tmp_path / "5.0/weights.safetensors").replace(tmp_path / "1.0/weights.safetensors")
    np.testing.assert_array_equal(load_program(tmp_path / "1.0")(x=np.zeros(3)), 5.0)


def test_no_folder_of_this_machine_is_in_the_program(saved):
    blob = (saved / "program.stablehlo").read_bytes()
    assert b"vldm_jax" not in blob and b".py" not in blob
    assert jax.config.jax_include_full_tracebacks_in_locations


def edit(name, change):
    return lambda f: (f / name).write_bytes(change((f / name).read_bytes()))


def other_meta(**values):
    return edit("program.json", lambda old: json.dumps(json.loads(old) | values).encode())


def other_weights(params, dtype=None):
    meta = {"kind": "program", "config": {}}
    return lambda f: save_weights(f / "weights.safetensors", params, meta, dtype=dtype)


DAMAGES = {
    "no folder": (lambda f: [p.unlink() for p in f.iterdir()], "no program.*program.json"),
    "no program": (lambda f: (f / "program.stablehlo").unlink(), "program.stablehlo is missing"),
    "half a program": (
        edit("program.stablehlo", lambda b: b[:-1]),
        "program.stablehlo is .*damaged",
    ),
    "another byte": (
        edit("program.stablehlo", lambda b: b[:900] + bytes([b[900] ^ 1]) + b[901:]),
        "program.stablehlo is .*damaged",
    ),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors"),
    "half the weights": (
        edit("weights.safetensors", lambda b: b[:-9]),
        "weights.safetensors is no",
    ),
    "weights of another network": (other_weights({"a": np.zeros(1)}), "weights.safetensors lacks"),
    "weights of another type": (other_weights(PARAMS, "bfloat16"), "in bfloat16.*takes float32"),
    "half a description": (edit("program.json", lambda b: b[:-9]), "program.json: not the desc"),
    "a list": (edit("program.json", lambda b: b"[1]"), "program.json: not the description"),
    "a deep one": (edit("program.json", lambda b: b'{"a":' * 90000), "program.json: not the desc"),
    "no inputs": (other_meta(inputs=None), "program.json is damaged"),
    "odd inputs": (other_meta(inputs={"x": 3}), "program.json is damaged"),
    "odd shapes": (other_meta(inputs={"x": {"shape": 3, "dtype": "int8"}}), "is damaged"),
    "an odd convention": (other_meta(calling_convention="9"), "program.json is damaged"),
    "odd platforms": (other_meta(platforms="cpu"), "program.json is damaged"),
    "a newer jax": (
        other_meta(calling_convention=99, jax="9.9"),
        r"written by jax 9\.9, and jax .* does not run it .*99.*: use a jax closer to it",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(copy, name):
    damage, message = DAMAGES[name]
    damage(copy)
    with pytest.raises(InputError, match=message):
        load_program(copy)


def test_another_platform_is_named(tmp_path):
    save_sum(tmp_path / "net", platforms=("cuda", "tpu"))
    with pytest.raises(InputError, match=r"written for .*cuda.*tpu.*, not for cpu"):
        load_program(tmp_path / "net")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"time": None}, "takes z, time, context, got"),
        ({"extra": np.zeros(1)}, "takes z, time, context, got"),
        ({"time": np.zeros(3, np.float32)}, r"'time' of shape \(2,\).*got \(3,\)"),
        ({"z": np.zeros((2, *SIZE), np.float32)}, r"'z' of shape .*got \(2, 4, 6, 4\)"),
        ({"time": np.zeros(2, np.int32)}, "'time' .*type float32, got .*int32"),
    ],
)
def test_wrong_inputs_are_named(saved, change, message):
    inputs = {k: v for k, v in (random_inputs(2) | change).items() if v is not None}
    with pytest.raises(InputError, match=message):
        load_program(saved)(**inputs)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"platforms": ("rocm",)}, "'rocm'"),
        ({"dtype": "int8"}, "'int8'"),
        ({"bias": 1e9, "dtype": "float16"}, "too large for float16"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        save_sum(tmp_path / "net", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds thesis.tex"):
        save_sum(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_failed_export_leaves_what_was_there(copy):
    def failing(params, **inputs):
        raise RuntimeError("traced")

    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    with pytest.raises(RuntimeError, match="traced"):
        save_program(copy.parent / "new", failing, PARAMS, STRUCTS, description={})
    with pytest.raises(InputError, match="exists and holds"):
        save_sum(copy)
    assert [folder.name for folder in copy.parent.iterdir()] == ["net"]
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before
    assert jax.config.jax_include_full_tracebacks_in_locations


def test_a_format_that_this_jax_does_not_know_is_named(copy, monkeypatch):
    """As `deserialize` of an older jax does with a newer file."""

    def refuse(data):
        raise NotImplementedError("deserialize unsupported version 11")

    monkeypatch.setattr(export, "deserialize", refuse)
    with pytest.raises(InputError, match=rf"written by jax {jax.__version__}, .*unsupported vers"):
        load_program(copy)


def test_a_program_says_how_long_jax_reads_it(saved):
    meta = json.loads((saved / "program.json").read_text())
    readme = (saved / "README.md").read_text()
    version = jaxlib.__version__
    assert meta["jaxlib"] == version
    promise = f"from 3 weeks before to 6 months after {version} was built"
    assert promise in meta["runs_with"] and promise in " ".join(readme.split())
    assert f"pip install jax=={jax.__version__} jaxlib=={version}" in readme


def test_where_programs_were_says_where_they_are():
    moved = "programs have moved: from vldm_jax.export.program import load_program"
    with pytest.raises(ImportError, match=moved):
        from vldm_jax.interop.program import load_program  # noqa: F401
