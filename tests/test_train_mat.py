"""The pose network as a MAT file: bit for bit there and back, in scipy and in Octave."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")

from pose_files import METADATA, damage, pose_net  # noqa: E402

from engines.registry import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from engines.torch_nets import PoseResNet  # noqa: E402
from realtime.errors import ModelError, OutputError  # noqa: E402
from realtime.skeleton import JOINTS, LIMBS  # noqa: E402
from train.mat import MAX_FIELD, field_of, read_mat, write_mat  # noqa: E402

torch.set_num_threads(1)
Weights = dict[str, Any]


@pytest.fixture(scope="module")
def weights() -> Weights:
    """With values that a conversion through double or text could lose."""
    weights = dict(pose_net().net.state_dict())
    odd = torch.tensor([-0.0, 1e-42, -1.17549435e-38, 3.4028235e38, 1 / 3])
    weights["backbone.conv1.weight"].view(-1)[:5] = odd
    weights["backbone.bn1.num_batches_tracked"] = torch.tensor(2**53 + 1)
    return weights


@pytest.fixture(scope="module")
def path(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mat") / "pose.mat"
    write_mat(path, weights, METADATA)
    return path


def assert_same(have: Weights, want: Weights) -> None:
    assert list(have) == list(want)
    for name, tensor in want.items():
        assert have[name].dtype == tensor.dtype and have[name].shape == tensor.shape, name
        assert have[name].numpy().tobytes() == tensor.numpy().tobytes(), name


def test_weights_come_back_bit_for_bit_into_the_network(weights: Weights, path: Path) -> None:
    have, metadata = read_mat(path)
    assert_same(have, weights)
    net = PoseResNet()
    net.load_state_dict(have, strict=True)
    assert_same(dict(net.state_dict()), weights)
    assert tuple(metadata["input_wh"]) == METADATA["input_wh"]
    for name in ("name", "grid", "sigma", "padding", "licence", "trained"):
        assert metadata[name] == METADATA[name]


def test_scipy_reads_what_matlab_users_look_for(weights: Weights, path: Path) -> None:
    from scipy.io import loadmat

    content = loadmat(str(path), simplify_cells=True)
    edges = content["SkeletonConnectionMap"]
    assert edges.shape == (19, 2)
    assert edges.min() == 1 and edges.max() == 17
    assert [tuple(edge) for edge in edges] == [(a + 1, b + 1) for a, b in LIMBS]
    assert list(content["JointNames"]) == list(JOINTS)
    assert list(content["InputSize"]) == [64, 64, 3]
    np.testing.assert_array_equal(content["Mean"], IMAGENET_MEAN)
    np.testing.assert_array_equal(content["Std"], IMAGENET_STD)
    assert content["ChannelOrder"] == "RGB"
    assert content["HeatmapGrid"] == "pixel_centre" and content["HeatmapSigma"] == 1.5
    assert content["CropPadding"] == 1.1
    assert content["Depth"] == 18
    assert list(content["names"]) == list(weights)
    kernel = content["weights"]["backbone_layer1_0_conv1_weight"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, weights["backbone.layer1.0.conv1.weight"].numpy())


def test_octave_reads_it_and_a_copy_it_saves_is_read(
    weights: Weights, path: Path, tmp_path: Path
) -> None:
    octave = shutil.which("octave-cli") or shutil.which("octave")
    if octave is None:
        pytest.skip("GNU Octave is not installed")
    script = """
        load('pose.mat');
        assert(isequal(size(SkeletonConnectionMap), [19 2]));
        assert(isequal(SkeletonConnectionMap(1, :), [16 14]));
        assert(strcmp(JointNames{17}, 'right_ankle'));
        assert(isa(weights.final_weight, 'single'));
        assert(isequal(size(weights.backbone_conv1_weight), [64 3 7 7]));
        assert(isequal(size(weights.final_weight), [17 256]));
        assert(isequal(size(weights.final_bias), [17 1]));
        assert(numel(fieldnames(weights)) == numel(names));
        for k = 1:numel(names)
          assert(isfield(weights, strrep(names{k}, '.', '_')));
          assert(numel(weights.(strrep(names{k}, '.', '_'))) == prod(shapes{k}));
        end
        w = permute(weights.backbone_conv1_weight, [3 4 2 1]);
        assert(isequal(size(w), [7 7 3 64]));
        printf('%.9g ', w(2, 3, 1, 5));
        save('-v6', 'copy.mat', 'weights', 'names', 'shapes', 'Description');
        printf('done');
    """
    shutil.copy(path, tmp_path / "pose.mat")
    command = [octave, "--norc", "--no-gui", "--eval", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.stdout.endswith("done"), result.stderr
    value = np.float32(result.stdout.split()[-2])
    assert value == weights["backbone.conv1.weight"][4, 0, 1, 2].numpy()
    assert_same(read_mat(tmp_path / "copy.mat")[0], weights)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_name_is_a_field_of_its_own(depth: int) -> None:
    with torch.device("meta"):
        names = list(PoseResNet(depth).state_dict())
    fields = {field_of(name) for name in names}
    assert len(fields) == len(names)
    assert max(map(len, fields)) <= MAX_FIELD


@pytest.mark.parametrize("name", ["a" * 64, "1st.weight", "_a.weight", "a-b", "", "é.weight"])
def test_names_matlab_has_not_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name in MATLAB"):
        field_of(name)


def test_damaged_files_are_one_line(path: Path, tmp_path: Path) -> None:
    for file in damage(path, tmp_path):
        with pytest.raises(ModelError) as caught:
            read_mat(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="no such file"):
        read_mat(tmp_path / "none.mat")


def test_other_mat_files_are_refused(tmp_path: Path) -> None:
    from scipy.io import savemat

    file = tmp_path / "other.mat"
    savemat(file, {"x": np.eye(3)})
    with pytest.raises(ModelError, match="not written by posestream-train"):
        read_mat(file)
    file.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600))
    with pytest.raises(ModelError, match="save it with -v7"):
        read_mat(file)


def test_weights_of_another_network_are_not_written(weights: Weights, tmp_path: Path) -> None:
    fewer = {name: tensor for name, tensor in weights.items() if name != "deconv.3.weight"}
    with pytest.raises(ModelError, match=r"deconv\.3\.weight"):
        write_mat(tmp_path / "pose.mat", fewer, METADATA)
    with pytest.raises(OutputError, match="cannot be written"):
        write_mat(tmp_path / "no folder" / "pose.mat", weights, METADATA)
    assert list(tmp_path.iterdir()) == []
