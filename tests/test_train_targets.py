"""Target heatmaps of the pose network, against the decoding of the pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from realtime.decode import Method, decode  # noqa: E402
from realtime.skeleton import MIRROR  # noqa: E402
from train.targets import heatmaps  # noqa: E402

INPUTS = ((192, 256), (96, 128), (288, 384))


def points(seed: int, count: int, input_wh: tuple[int, int]) -> np.ndarray:
    """float32 (count, 17, 2) anywhere on the crop, up to its outermost edges."""
    rng = np.random.default_rng(seed)
    low, high = [-0.5, -0.5], np.array(input_wh) - 0.5
    return rng.uniform(low, high, (count, 17, 2)).astype(np.float32)


@pytest.mark.parametrize("method, cells", [("udp", 0.02), ("dark", 0.02)])
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 2), sigma=st.sampled_from([1.5, 2, 3]))
@settings(max_examples=25, deadline=None)
def test_decoding_finds_the_joints_again(
    method: Method, cells: float, seed: int, size: int, sigma: float
) -> None:
    joints = points(seed, 3, INPUTS[size])
    maps = heatmaps(torch.from_numpy(joints), INPUTS[size], sigma).numpy()
    found, scores = decode(maps, method, "pixel_centre", INPUTS[size], sigma)
    assert np.abs(found - joints).max() / 4 < cells
    assert scores.min() > np.exp(-0.25 / sigma**2) - 1e-3  # of the nearest cell


def test_each_value_is_the_gaussian() -> None:
    joints = points(1, 2, (64, 96))
    maps = heatmaps(torch.from_numpy(joints), (64, 96), 2.0).numpy()
    assert maps.shape == (2, 17, 24, 16) and maps.dtype == np.float32
    for b, k, y, x in np.random.default_rng(2).integers(0, (2, 17, 24, 16), (200, 4)):
        centre = (joints[b, k].astype(np.float64) + 0.5) / 4 - 0.5
        expected = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 8)
        assert abs(maps[b, k, y, x] - expected) < 1e-5


def test_mirrored_joints_give_mirrored_maps() -> None:
    joints = points(3, 4, (192, 256))
    mirrored = joints[:, MIRROR] * [-1, 1] + np.array([191, 0])
    maps = heatmaps(torch.from_numpy(joints), (192, 256), 2.0)
    again = heatmaps(torch.from_numpy(mirrored.astype(np.float32)), (192, 256), 2.0)
    torch.testing.assert_close(again, maps[:, MIRROR].flip(-1), atol=1e-4, rtol=0)


def test_unknown_joints_have_empty_maps() -> None:
    joints = torch.from_numpy(points(4, 2, (64, 64)))
    visible = torch.ones(2, 17)
    visible[0, 3] = visible[1, 16] = 0
    joints[0, 3] = float("nan")
    maps = heatmaps(joints, (64, 64), 2.0, visible)
    assert not maps[0, 3].any() and not maps[1, 16].any()
    whole = heatmaps(joints, (64, 64), 2.0)
    torch.testing.assert_close(maps[visible > 0], whole[visible > 0])


def test_any_number_of_leading_dimensions_and_double_precision() -> None:
    joints = torch.from_numpy(points(5, 6, (64, 64)))
    maps = heatmaps(joints, (64, 64), 2.0)
    assert torch.equal(heatmaps(joints[0], (64, 64), 2.0), maps[0])
    assert torch.equal(heatmaps(joints.reshape(2, 3, 17, 2), (64, 64), 2.0).flatten(0, 1), maps)
    assert heatmaps(joints.double(), (64, 64), 2.0).dtype == torch.float32
    assert heatmaps(joints[:0], (64, 64), 2.0).shape == (0, 17, 16, 16)
