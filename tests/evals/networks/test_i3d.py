"""I3D against PyTorch on the published arrays, with TensorFlow's padding worked out by hand."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from judges import clips, skip_if_absent
from judges import i3d as network

from vldm_jax.evals.networks import i3d
from vldm_jax.evals.networks.i3d_weights import I3D_WEIGHTS, load_i3d_weights
from vldm_jax.models.array_pickles import load_arrays

torch = pytest.importorskip("torch", reason="compares with torch")
F = torch.nn.functional


@functools.cache
def published():
    """The tree of the file, as it is stored."""
    skip_if_absent(I3D_WEIGHTS)
    with open(I3D_WEIGHTS.find(), "rb") as stream:
        return load_arrays(stream)


def pad(x, sizes, strides, value=0.0):
    """Pad (b c t h w) as TensorFlow's SAME: out = ceil(n / stride), the odd one at the end."""
    amounts = []
    for n, size, stride in zip(x.shape[2:], sizes, strides, strict=True):
        rest = n % stride or stride
        total = max(size - rest, 0)
        amounts = [total // 2, total - total // 2, *amounts]  # PyTorch begins with the last axis
    return F.pad(x, amounts, value=value)


def torch_pool(x, sizes, strides):
    return F.max_pool3d(pad(x, sizes, strides, -float("inf")), sizes, strides)


def torch_unit(x, path, stride=1):
    params, stats = published()["params"], published()["batch_stats"]
    for name in path:
        params, stats = params[name], stats[name]
    kernel = torch.from_numpy(params["Conv_0"]["kernel"]).permute(4, 3, 0, 1, 2)
    x = F.conv3d(pad(x, kernel.shape[2:], (stride,) * 3), kernel, stride=stride)
    mean, var = (torch.from_numpy(stats["BatchNorm_0"][k].ravel()) for k in ("mean", "var"))
    beta = torch.from_numpy(params["BatchNorm_0"]["bias"].ravel())
    return F.relu(F.batch_norm(x, mean, var, bias=beta, eps=1e-3))


def torch_mixed(x, name):
    def unit(x, path):
        return torch_unit(x, (name, path))

    return torch.cat(
        [
            unit(x, "Branch_0/Conv3d_0a_1x1"),
            unit(unit(x, "Branch_1/Conv3d_0a_1x1"), "Branch_1/Conv3d_0b_3x3"),
            unit(unit(x, "Branch_2/Conv3d_0a_1x1"), "Branch_2/Conv3d_0b_3x3"),
            unit(torch_pool(x, (3, 3, 3), (1, 1, 1)), "Branch_3/Conv3d_0b_1x1"),
        ],
        dim=1,
    )


@torch.no_grad()
def torch_i3d(x):
    """The network of the paper's figure 3, down to one vector of logits a window."""
    x = torch.from_numpy(x).permute(0, 4, 1, 2, 3)
    x = torch_pool(torch_unit(x, ["Conv3d_1a_7x7"], 2), (1, 3, 3), (1, 2, 2))
    x = torch_unit(torch_unit(x, ["Conv3d_2b_1x1"]), ["Conv3d_2c_3x3"])
    x = torch_pool(x, (1, 3, 3), (1, 2, 2))
    x = torch_mixed(torch_mixed(x, "Mixed_3b"), "Mixed_3c")
    x = torch_pool(x, (3, 3, 3), (2, 2, 2))
    for letter in "bcdef":
        x = torch_mixed(x, f"Mixed_4{letter}")
    x = torch_pool(x, (2, 2, 2), (2, 2, 2))
    x = torch_mixed(torch_mixed(x, "Mixed_5b"), "Mixed_5c")
    x = F.avg_pool3d(x, (2, 7, 7), stride=1)
    logits = published()["params"]["Logits/Conv3d_0c_1x1"]["Conv_0"]
    kernel = torch.from_numpy(logits["kernel"]).permute(4, 3, 0, 1, 2)
    return F.conv3d(x, kernel, torch.from_numpy(logits["bias"])).mean((2, 3, 4)).numpy()


def assert_equal_to(ours, theirs, bound=2e-5):
    assert np.abs(np.asarray(ours) - theirs).max() <= bound * theirs.std()


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("shape", [(9, 10, 11), (8, 7, 6)])
def test_convolutions_are_padded_as_in_tensorflow(size, stride, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, size, 3, 5)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    params = {"kernel": kernel, "bias": bias}
    ours = i3d.Unit(5, size, stride).apply({"params": params}, jnp.asarray(x))
    x = pad(torch.from_numpy(x).permute(0, 4, 1, 2, 3), (size,) * 3, (stride,) * 3)
    kernel = torch.from_numpy(kernel).permute(4, 3, 0, 1, 2)
    theirs = F.relu(F.conv3d(x, kernel, torch.from_numpy(bias), stride=stride))
    assert_equal_to(ours, theirs.permute(0, 2, 3, 4, 1).numpy(), 1e-5)


@pytest.mark.parametrize("window", [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2))])
@pytest.mark.parametrize("shape", [(9, 10, 11), (8, 7, 6)])
def test_maxima_are_those_of_whole_windows(window, shape):
    x = -np.random.default_rng(0).uniform(1, 2, (2, *shape, 3)).astype(np.float32)
    theirs = torch_pool(torch.from_numpy(x).permute(0, 4, 1, 2, 3), *window)
    np.testing.assert_array_equal(
        i3d._max_pool(jnp.asarray(x), *window), theirs.permute(0, 2, 3, 4, 1)
    )


@pytest.mark.parametrize("shape", [(2, 5, 6), (3, 8, 7)])
def test_mixed_block_equals_pytorch(shape):
    x = np.random.default_rng(0).uniform(0, 2, (1, *shape, 192)).astype(np.float32)
    theirs = torch_mixed(torch.from_numpy(x).permute(0, 4, 1, 2, 3), "Mixed_3b")
    variables = {"params": load_i3d_weights()["mixed_3b"]}
    ours = i3d.Mixed(i3d.MIXED["3b"]).apply(variables, jnp.asarray(x))
    assert_equal_to(ours, theirs.permute(0, 2, 3, 4, 1).numpy())


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(1, *i3d.SMALLEST), (2, 16, 224, 224), (1, 10, 208, 201), (1, 17, 225, 230)]
)
def test_equals_pytorch(shape):
    """The last one has more than one window of the last average on every axis."""
    x = clips(*shape)
    assert_equal_to(network()(x), torch_i3d(x))
