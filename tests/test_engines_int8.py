"""int8 arithmetic: ranges found, kept in the file, put into the network, and really used."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from networks import NET_WH, by_hand, pictures, pose_file, resnet_file

from engines import bundled, containers, int8, selfcheck
from engines.calibrate import calibrated, find_ranges
from engines.identify import identify
from engines.load import find_tiny, load
from engines.quiet_openvino import ops, ov
from realtime.errors import ModelError

onnx = pytest.importorskip("onnx")


def has(capability: str) -> bool:
    return capability in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """The pose network with random weights, with ranges inside."""
    path = resnet_file(tmp_path_factory.mktemp("int8") / "a.onnx")
    data = calibrated(identify(path), path.read_bytes(), pictures(6, 2, NET_WH))
    path.with_name("b.onnx").write_bytes(data)
    return path.with_name("b.onnx")


def ranges_of(path) -> int8.Ranges:
    return int8.parse(containers.read(path.read_bytes()).metadata[int8.METADATA_KEY])


def with_ranges(path, text: str):
    path.write_bytes(containers.with_texts(path.read_bytes(), {int8.METADATA_KEY: text}))
    return path


def test_every_convolution_of_the_pose_network_is_covered(resnet):
    ranges = ranges_of(resnet)
    assert len(ranges) == 1 + 17 + 3 + 3  # picture; ReLUs of the backbone; deconvs; shortcuts
    assert len(int8.dump(ranges)) < 1500
    signed = [name for name, (low, _) in ranges.items() if low < 0]
    assert len(signed) == 1 + 3  # the normalised picture and the shortcuts


def test_integers_are_used_and_near_float32(resnet):
    network = load(resnet, "pose", "openvino", "int8", threads=1)
    assert network.precision == "int8"
    x = pictures(9, 3, NET_WH)
    exact = load(resnet, "pose", "openvino", "f32", threads=1)(x)[0]
    (found,) = network(x)
    error = np.abs(found - exact)
    assert error.mean() < 0.05 * exact.std()
    assert error.max() > 1e-4 * exact.std()  # not float32 under another name
    for count in (1, 3, 8):
        assert np.abs(network(x[:count])[0] - found[:count]).max() < 0.02 * exact.std()
    assert network(x[:0])[0].shape == (0, 17, 16, 16)


def test_auto_takes_int8_where_the_file_has_ranges(resnet, tmp_path):
    assert load(resnet, "pose", "openvino").precision == "int8"
    assert load(resnet, "pose", "openvino", "f32").precision == "f32"
    with pytest.raises(ModelError, match="holds no ranges for int8; .* calibrate") as caught:
        load(pose_file(tmp_path / "a.onnx"), "pose", precision="int8")
    assert "\n" not in str(caught.value)


def test_a_cpu_that_does_not_compute_int8_has_the_network_as_it_is(resnet, monkeypatch):
    plain = load(resnet, "pose", "openvino", "bf16" if has("BF16") else "f32", threads=1)
    monkeypatch.setattr(int8, "is_used", lambda _: False)
    auto = load(resnet, "pose", "openvino", "auto", threads=1)
    x = pictures(9, 3, NET_WH)
    assert auto.precision == plain.precision
    np.testing.assert_array_equal(auto(x)[0], plain(x)[0])
    with pytest.raises(ModelError, match="this CPU does not compute it"):
        load(resnet, "pose", "openvino", "int8")


def test_ranges_are_those_of_the_pictures(tmp_path):
    path = pose_file(tmp_path / "a.onnx", nhwc=False, mean=[100, 50, 0], std=[50, 50, 51])
    x = pictures(3)
    assert find_ranges(identify(path), path.read_bytes(), x) == {"planes": (-2.0, 5.0)}
    path = pose_file(tmp_path / "b.onnx")
    (ends,) = find_ranges(identify(path), path.read_bytes(), x // 2).values()
    assert ends[0] == 0 and 126 <= ends[1] <= 127
    network = load(with_ranges(path, int8.dump({"planes": ends})), "pose", "openvino", "int8")
    expected = by_hand(x // 2)
    share = 0.03 if int8.sums_are_cut_off() else 0.02  # weights in half of the steps
    assert np.abs(network(x // 2)[0] - expected).max() < share * np.abs(expected).max()


@pytest.mark.parametrize("cut_off", [int8.sums_are_cut_off(), True])
def test_sums_of_large_numbers_are_right(cut_off):
    """Without VNNI, sums of two products of 8 bits each do not fit into 16; nothing may be cut."""
    image = ops.parameter([1, 16, 8, 8], np.float32)
    image.output(0).set_names({"image"})
    weights = np.full((16, 16, 3, 3), 0.5, np.float32)
    weights[1] = -0.5
    sums = ops.convolution(image, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = ov.Model([sums], [image], "sums")
    int8.insert(model, {"image": (0.0, 255.0)}, cut_off)
    compiled = ov.Core().compile_model(model, "CPU")
    assert int8.is_used(compiled)
    found = compiled(np.full((1, 16, 8, 8), 255, np.float32))[0]
    expected = 255 * 0.5 * 16 * 9
    assert np.abs(found[0, 0] - expected).max() < 0.02 * expected
    assert np.abs(found[0, 1] + expected).max() < 0.02 * expected


def test_ranges_hold_all_pictures_in_any_order(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    dark, bright = np.full((2, *pictures(1)[0].shape), [[[[9]]], [[[250]]]], np.uint8)
    for order in ([dark, bright], [bright, dark]):
        (ends,) = find_ranges(identify(path), path.read_bytes(), order).values()
        assert ends == (0, 250)


def test_the_file_stays_itself(tmp_path):
    path = pose_file(tmp_path / "a.onnx", sigma=3)
    before = onnx.load(path)
    with_ranges(with_ranges(path, "first"), '{"planes": [0, 255]}')
    after = onnx.load(path)
    onnx.checker.check_model(after)
    assert [p.key for p in after.metadata_props] == ["posestream", int8.METADATA_KEY]
    assert after.metadata_props[1].value == '{"planes": [0, 255]}'
    del after.metadata_props[1]
    assert after == before
    assert identify(path).sigma == 3
    long = "x" * 100_000
    assert containers.read(with_ranges(path, long).read_bytes()).metadata[int8.METADATA_KEY] == long
    with pytest.raises(ValueError):
        containers.with_texts(b"no model", {"a": "b"})


def test_a_file_without_sizes_stays_itself_but_for_them(tmp_path):
    path = pose_file(tmp_path / "a.onnx")
    before = onnx.shape_inference.infer_shapes(onnx.load(path))
    free = containers.with_free_sizes(before.SerializeToString())
    after = onnx.load_from_string(free)
    onnx.checker.check_model(after)
    values = [*before.graph.input, *before.graph.output, *before.graph.value_info]
    assert before.graph.value_info
    for value in values:
        for size in value.type.tensor_type.shape.dim[1:]:
            size.Clear()
    assert after == before
    with pytest.raises(ValueError):
        containers.with_free_sizes(b"no model")
    with pytest.raises(ValueError):
        containers.with_free_sizes(free[:-9])


WRONG = [
    "", "{", "[]", "{}", '{"planes": 3}', '{"planes": [1, 2]}', '{"planes": [0]}',
    '{"planes": [0, NaN]}', '{"planes": [0, "1"]}', '{"planes": [0, 0]}', '{"planes": [0, 1e-300]}',
    '{"planes": [-5e-324, 0]}', '{"planes": [0, 1e9]}',
    '{"planes": [false, true]}', '{"nothing": [0, 1]}', "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_wrong_ranges_are_refused_in_one_line(tmp_path, text):
    path = with_ranges(pose_file(tmp_path / "a.onnx"), text)
    with pytest.raises(ModelError, match="'posestream_int8' metadata is wrong") as caught:
        load(path, "pose", "openvino")
    assert "\n" not in str(caught.value)
    assert load(path, "pose", "openvino", "f32").precision == "f32"  # they are not looked at


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-1.0, 1.0), (-0.3, 7.1), (-5.0, 0.0), (-1e-3, 9.0)])
def test_zero_is_a_step(ends):
    low, high = int8.with_exact_zero(*ends)
    step = (high - low) / 255
    assert abs(low / step - round(low / step)) < 1e-9
    assert abs(low - ends[0]) <= step / 2 and abs(high - ends[1]) <= step / 2 + 1e-12


def test_dump_and_parse():
    ranges = {"b": (-1.23456789, 2.0), "a": (0.0, 1e-3)}
    text = int8.dump(ranges)
    assert json.loads(text) == {"a": [0.0, 0.001], "b": [-1.2346, 2.0]}
    assert int8.parse(text) == {"a": (0.0, 0.001), "b": (-1.2346, 2.0)}


# --- the comparison of joints -----------------------------------------------------------------


def gaussians(centres: np.ndarray, height: float = 1.0) -> np.ndarray:
    """Heatmaps (M, 17, 64, 48) with a peak at each centre (M, 17, 2), in cells."""
    y, x = np.mgrid[:64, :48].astype(np.float32)
    d = (x - centres[..., :1, None]) ** 2 + (y - centres[..., 1:, None]) ** 2
    return (height * np.exp(-d / 8)).astype(np.float32)


@pytest.fixture
def spec(tmp_path):
    return identify(pose_file(tmp_path / "a.onnx", input_wh=[192, 256]))


def test_shifted_joints_are_measured_in_crop_pixels(spec):
    centres = np.random.default_rng(0).uniform(10, 38, (5, 17, 2)).astype(np.float32)
    reference = gaussians(centres)
    same = selfcheck.compare(reference, reference, spec)
    assert (same.joints, same.p95_px, same.mean_oks, same.good) == (85, 0, 1, True)
    near = selfcheck.compare(reference, gaussians(centres + (0.1, 0)), spec)  # 0.4 px
    assert near.good and 0.3 < near.p95_px < 0.5 and 0.99 < near.mean_oks < 1
    far = selfcheck.compare(reference, gaussians(centres + (0, 0.5)), spec)
    assert not far.good and 1.8 < far.p95_px < 2.2
    few = centres.copy()
    few[:4, 0] -= 9
    wrong = selfcheck.compare(reference, gaussians(few), spec)
    assert not wrong.good and wrong.p95_px < 0.1 and wrong.mean_oks < 0.97


def test_only_sure_joints_count_and_none_is_not_good(spec):
    centres = np.full((2, 17, 2), 20, np.float32)
    reference, candidate = gaussians(centres), gaussians(centres)
    reference[0, 5] *= 0.2
    candidate[0, 5] = gaussians(centres + 9)[0, 5]
    assert selfcheck.compare(reference, candidate, spec).joints == 33
    assert selfcheck.compare(reference, candidate, spec).good
    nothing = selfcheck.compare(reference * 0.1, candidate, spec)
    assert not nothing.good and str(nothing).startswith("no joint is sure")
    candidate[1] = np.nan
    broken = selfcheck.compare(reference, candidate, spec)
    assert not broken.good and broken.p95_px == np.inf and broken.mean_oks < 0.6


def test_demo_crops_are_people_as_the_network_expects_them_and_always_the_same(spec):
    spec = replace(spec, input_wh=(48, 64))
    crops = selfcheck.demo_crops(spec, 6)
    assert crops.shape == (6, 64, 48, 3) and crops.dtype == np.uint8
    assert (crops == selfcheck.demo_crops(spec, 6)).all()
    wide = selfcheck.demo_crops(replace(spec, padding=2 * spec.padding), 6)
    middle = np.stack([cv2.resize(crop, None, fx=0.5, fy=0.5)[4:-4, 4:-4] for crop in crops])
    apart = np.abs(wide[:, 20:-20, 16:-16].astype(float) - middle)
    assert apart.mean() < 15  # 35 where the padding of the network is not heard
    assert all(crop.std() > 10 for crop in crops)


def test_what_is_known_of_a_bundled_network_stays_with_its_copy(monkeypatch):
    monkeypatch.setattr(bundled, "known", lambda sha256: {"licence": "CC0", "accuracy": 0.5})
    path = find_tiny("pose")
    copy = calibrated(identify(path), path.read_bytes(), pictures(1, size_wh=(192, 256)))
    told = json.loads(containers.read(copy).metadata["posestream"])
    assert (told["name"], told["licence"], told["accuracy"]) == ("tiny_pose", "CC0", 0.5)
    assert "demo scene" in told["trained"]
