"""FID's Inception-v3 against the same network written in PyTorch, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

torch = pytest.importorskip("torch", reason="compares with torch")
from torch import nn
from torch.nn import functional as F

from vldm_jax.core import paths
from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.inception import (
    Inception,
    load_inception_weights,
    prepare_inception,
)


class BasicConv2d(nn.Module):
    def __init__(self, i, o, **options):
        super().__init__()
        self.conv = nn.Conv2d(i, o, bias=False, **options)
        self.bn = nn.BatchNorm2d(o, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def average(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    def __init__(self, i, n, features):
        super().__init__()
        self.branch1x1 = BasicConv2d(i, 64 // n, kernel_size=1)
        self.branch5x5_1 = BasicConv2d(i, 48 // n, kernel_size=1)
        self.branch5x5_2 = BasicConv2d(48 // n, 64 // n, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(i, 64 // n, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64 // n, 96 // n, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96 // n, 96 // n, kernel_size=3, padding=1)
        self.branch_pool = BasicConv2d(i, features // n, kernel_size=1)

    def forward(self, x):
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(average(x))], 1)


class BlockB(nn.Module):
    def __init__(self, i, n):
        super().__init__()
        self.branch3x3 = BasicConv2d(i, 384 // n, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(i, 64 // n, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64 // n, 96 // n, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96 // n, 96 // n, kernel_size=3, stride=2)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    def __init__(self, i, n, c7):
        super().__init__()
        c, o = c7 // n, 192 // n
        row, column = (
            {"kernel_size": (1, 7), "padding": (0, 3)},
            {
                "kernel_size": (7, 1),
                "padding": (3, 0),
            },
        )
        self.branch1x1 = BasicConv2d(i, o, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(i, c, kernel_size=1)
        self.branch7x7_2 = BasicConv2d(c, c, **row)
        self.branch7x7_3 = BasicConv2d(c, o, **column)
        self.branch7x7dbl_1 = BasicConv2d(i, c, kernel_size=1)
        self.branch7x7dbl_2 = BasicConv2d(c, c, **column)
        self.branch7x7dbl_3 = BasicConv2d(c, c, **row)
        self.branch7x7dbl_4 = BasicConv2d(c, c, **column)
        self.branch7x7dbl_5 = BasicConv2d(c, o, **row)
        self.branch_pool = BasicConv2d(i, o, kernel_size=1)

    def forward(self, x):
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_2(self.branch7x7dbl_1(x))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(self.branch7x7dbl_3(double)))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(average(x))], 1)


class BlockD(nn.Module):
    def __init__(self, i, n):
        super().__init__()
        o = 192 // n
        self.branch3x3_1 = BasicConv2d(i, o, kernel_size=1)
        self.branch3x3_2 = BasicConv2d(o, 320 // n, kernel_size=3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(i, o, kernel_size=1)
        self.branch7x7x3_2 = BasicConv2d(o, o, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(o, o, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(o, o, kernel_size=3, stride=2)

    def forward(self, x):
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(seven))
        return torch.cat([three, seven, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(nn.Module):
    def __init__(self, i, n, pool):
        super().__init__()
        self.pool, o = pool, 384 // n
        self.branch1x1 = BasicConv2d(i, 320 // n, kernel_size=1)
        self.branch3x3_1 = BasicConv2d(i, o, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(o, o, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(o, o, kernel_size=(3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(i, 448 // n, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(448 // n, o, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(o, o, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(o, o, kernel_size=(3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(i, 192 // n, kernel_size=1)

    def forward(self, x):
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*parts, self.branch_pool(self.pool(x))], 1)


class Reference(nn.Module):
    def __init__(self, n=1):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32 // n, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32 // n, 32 // n, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32 // n, 64 // n, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64 // n, 80 // n, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80 // n, 192 // n, kernel_size=3)
        self.Mixed_5b = BlockA(192 // n, n, 32)
        self.Mixed_5c = BlockA(256 // n, n, 64)
        self.Mixed_5d = BlockA(288 // n, n, 64)
        self.Mixed_6a = BlockB(288 // n, n)
        self.Mixed_6b = BlockC(768 // n, n, 128)
        self.Mixed_6c = BlockC(768 // n, n, 160)
        self.Mixed_6d = BlockC(768 // n, n, 160)
        self.Mixed_6e = BlockC(768 // n, n, 192)
        self.Mixed_7a = BlockD(768 // n, n)
        self.Mixed_7b = BlockE(1280 // n, n, average)
        self.Mixed_7c = BlockE(2048 // n, n, lambda x: F.max_pool2d(x, 3, stride=1, padding=1))
        self.fc = nn.Linear(2048 // n, 1008)

    def forward(self, x):
        for name, module in self.named_children():
            if name in ("Conv2d_3b_1x1", "Mixed_5b"):
                x = F.max_pool2d(x, 3, stride=2)
            if name != "fc":
                x = module(x)
        return x.mean((2, 3))


def random_reference(thin):
    """Weights that keep the deviation of what flows, statistics that are not the identity."""
    torch.manual_seed(0)
    reference = Reference(thin).eval()
    for module in reference.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
    return reference


def deviation(thin, size, folder):
    """Largest difference of the features, in units of their deviation."""
    reference = random_reference(thin)
    torch.save(reference.state_dict(), folder / "inception.pth")
    network = Inception(thin)
    params = load_inception_weights(folder / "inception.pth", network)
    x = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    features = jax.jit(network.apply)({"params": params}, x)
    with torch.no_grad():
        expected = reference(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    assert features.shape == expected.shape == (2, 2048 // thin)
    return np.abs(features - expected).max() / expected.std()


@pytest.fixture(scope="module")
def tensors():
    """A thin network's, as arrays."""
    state = random_reference(16).state_dict()
    return {name: tensor.numpy() for name, tensor in state.items()}


def test_features_are_those_of_a_thin_reference(tmp_path):
    assert deviation(16, 107, tmp_path) <= 1e-4


@pytest.mark.slow
def test_features_are_those_of_the_reference(tmp_path):
    assert deviation(1, 299, tmp_path) <= 1e-4


def test_both_forms_of_the_file_are_the_same(tensors, tmp_path):
    torch.save({k: torch.from_numpy(v) for k, v in tensors.items()}, tmp_path / "a.pth")
    save_file(tensors, tmp_path / "a.safetensors")
    a, b = (
        load_inception_weights(tmp_path / f"a.{form}", Inception(16))
        for form in ("pth", "safetensors")
    )
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(a))


def test_names_that_do_not_matter_may_be_absent_or_there(tensors, tmp_path):
    kept = {k: v for k, v in tensors.items() if not k.startswith("fc")}
    kept["AuxLogits.conv0.conv.weight"] = np.zeros((1, 1, 1, 1), np.float32)
    save_file(kept, tmp_path / "a.safetensors")
    params = load_inception_weights(tmp_path / "a.safetensors", Inception(16))
    assert "fc" not in params and "AuxLogits" not in params


@pytest.mark.parametrize("size", [(64, 96), (299, 299), (400, 640)])
def test_frames_are_prepared_as_by_pytorch_fid(size):
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 255
    x = 2 * F.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1
    prepared = np.asarray(prepare_inception(jnp.asarray(frames)))
    np.testing.assert_allclose(prepared, x.permute(0, 2, 3, 1).numpy(), atol=2e-4)


WRONG = {
    "lacks 'Mixed_7c.branch1x1.conv.weight'": lambda t: t.pop("Mixed_7c.branch1x1.conv.weight"),
    "lacks 'Mixed_5b.branch_pool.bn.running_var'": lambda t: t.pop(
        "Mixed_5b.branch_pool.bn.running_var"
    ),
    "'Conv2d_3b_1x1.conv.weight' has the shape": lambda t: t.update(
        {"Conv2d_3b_1x1.conv.weight": np.zeros((5, 4, 3, 3), np.float32)}
    ),
    "holds 'Mixed_8a.conv.weight'": lambda t: t.update(
        {"Mixed_8a.conv.weight": np.zeros(1, np.float32)}
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_another_file_is_refused(problem, tensors, tmp_path):
    changed = dict(tensors)
    WRONG[problem](changed)
    save_file(changed, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=problem) as caught:
        load_inception_weights(tmp_path / "a.safetensors", Inception(16))
    assert "give pt_inception-2015-12-05-6726825d.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for form in ("pth", "safetensors"):
        with pytest.raises(InputError, match=f"absent.{form}"):
            load_inception_weights(tmp_path / f"absent.{form}")


def test_number_of_parameters():
    """torchvision's 21,785,568 of kernels and norms, of which a norm's two are one bias here."""
    x = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    shapes = paths.flatten(jax.eval_shape(Inception().init, jax.random.key(0), x)["params"])
    biases = sum(leaf.size for name, leaf in shapes.items() if name.endswith("bias"))
    assert paths.count(shapes.values()) == 21_785_568 - biases
    assert len(shapes) == 2 * 94


def test_small_images_are_refused():
    x = jax.ShapeDtypeStruct((1, 64, 80, 3), jnp.float32)
    with pytest.raises(InputError, match="64x80 are too small for Inception-v3"):
        jax.eval_shape(Inception(16).init, jax.random.key(0), x)
