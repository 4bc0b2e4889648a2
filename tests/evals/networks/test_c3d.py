"""C3D against the same network written in PyTorch, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

torch = pytest.importorskip("torch", reason="compares with torch")
from torch import nn
from torch.nn import functional as F

from vldm_jax.core.errors import InputError
from vldm_jax.evals.networks.c3d import C3D, load_c3d_weights, prepare_c3d

SMALL = C3D(width=4, hidden=24)


class Reference(nn.Module):
    def __init__(self, width=64, hidden=4096):
        super().__init__()

        def conv(i, o):
            return nn.Conv3d(i * width if i else 3, o * width, kernel_size=3, padding=1)

        self.conv1, self.conv2 = conv(0, 1), conv(1, 2)
        self.conv3a, self.conv3b = conv(2, 4), conv(4, 4)
        self.conv4a, self.conv4b = conv(4, 8), conv(8, 8)
        self.conv5a, self.conv5b = conv(8, 8), conv(8, 8)
        self.fc6 = nn.Linear(8 * width * 16, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, 101)

    def forward(self, x):
        x = F.max_pool3d(F.relu(self.conv1(x)), (1, 2, 2), (1, 2, 2))
        x = F.max_pool3d(F.relu(self.conv2(x)), 2, 2)
        x = F.max_pool3d(F.relu(self.conv3b(F.relu(self.conv3a(x)))), 2, 2)
        x = F.max_pool3d(F.relu(self.conv4b(F.relu(self.conv4a(x)))), 2, 2)
        x = F.relu(self.conv5b(F.relu(self.conv5a(x))))
        x = F.max_pool3d(x, 2, 2, padding=(0, 1, 1)).flatten(1)
        return self.fc8(F.relu(self.fc7(F.relu(self.fc6(x)))))


def random_reference(*sizes):
    torch.manual_seed(0)
    reference = Reference(*sizes).eval()
    for module in reference.modules():
        if hasattr(module, "weight"):
            nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
            nn.init.normal_(module.bias, std=0.1)
    return reference


def deviation(network, folder):
    """Largest difference of the logits, in units of their deviation."""
    reference = random_reference(network.width, network.hidden)
    torch.save(reference.state_dict(), folder / "c3d.pth")
    params = load_c3d_weights(folder / "c3d.pth", network)
    x = np.random.default_rng(0).normal(size=(2, 16, 112, 112, 3)).astype(np.float32)
    logits = jax.jit(network.apply)({"params": params}, x)
    with torch.no_grad():
        expected = reference(torch.from_numpy(x).permute(0, 4, 1, 2, 3)).numpy()
    assert logits.shape == expected.shape == (2, 101)
    return np.abs(logits - expected).max() / expected.std()


def test_logits_are_those_of_a_small_reference(tmp_path):
    assert deviation(SMALL, tmp_path) <= 1e-4


@pytest.mark.slow
def test_logits_are_those_of_the_reference(tmp_path):
    assert deviation(C3D(), tmp_path) <= 1e-4


def test_number_of_parameters():
    x = jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32)
    shapes = jax.eval_shape(C3D().init, jax.random.key(0), x)
    with torch.device("meta"):
        expected = sum(p.numel() for p in Reference().parameters())
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def test_frames_are_prepared_as_in_training():
    """Resized to 128x171, rows 8 to 120 and columns 30 to 142, B G R, less the mean."""
    videos = np.random.default_rng(0).integers(0, 256, (2, 3, 60, 200, 3), np.uint8)
    frames = torch.from_numpy(videos.reshape(6, 60, 200, 3)).permute(0, 3, 1, 2).double()
    frames = F.interpolate(frames, (128, 171), mode="bilinear", align_corners=False)
    frames = frames.permute(0, 2, 3, 1)[:, 8:120, 30:142].numpy().reshape(2, 3, 112, 112, 3)
    expected = frames[..., [2, 1, 0]] - np.array([90, 98, 102])
    prepared = np.asarray(prepare_c3d(jnp.asarray(videos)))
    assert np.abs(prepared - expected).max() <= 0.51  # rounded to whole numbers
    np.testing.assert_array_equal(prepared, np.round(prepared))


def test_the_file_is_held_to_the_layout(tmp_path):
    state = {k: v.numpy() for k, v in random_reference(4, 24).state_dict().items()}
    whole = tmp_path / "whole.safetensors"
    save_file(state, whole)
    assert load_c3d_weights(whole, SMALL).keys() == {name.split(".")[0] for name in state}
    with pytest.raises(InputError, match=r"'conv1.bias' has the shape .* no C3D .*: give a"):
        load_c3d_weights(whole)
    save_file({"conv1.weight": state["conv1.weight"]}, tmp_path / "part.safetensors")
    with pytest.raises(InputError, match="lacks"):
        load_c3d_weights(tmp_path / "part.safetensors", SMALL)
    save_file(state | {"fc9.bias": state["fc8.bias"]}, tmp_path / "more.safetensors")
    with pytest.raises(InputError, match="holds 'fc9.bias', which the network has not"):
        load_c3d_weights(tmp_path / "more.safetensors", SMALL)


def test_clips_of_another_size_are_refused():
    x = jax.ShapeDtypeStruct((1, 8, 112, 112, 3), jnp.float32)
    with pytest.raises(InputError, match="give 16 frames of 112x112"):
        jax.eval_shape(SMALL.init, jax.random.key(0), x)
