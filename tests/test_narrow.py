"""Slim people in narrow crops: who is, what the network is given, where its maps lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engines.base import Arrays, takes_narrow
from engines.identify import identify
from engines.load import load
from engines.shared import Shared
from realtime.crop import SLIM, cut
from realtime.errors import ModelError
from realtime.geometry import narrow_columns
from realtime.halving import Halving
from realtime.pose import Estimate, begin_of, cutter_of, estimate
from realtime.records import Crops, Detections, Frame
from tests.networks import SIZE_WH, pictures, pose_file


def crops(slim: Sequence[bool], seed: int = 1) -> Crops:
    count = len(slim)
    place = np.zeros((count, 2, 3), np.float32), np.zeros(count, np.int64)
    return Crops(pictures(count, seed), *place, np.array(slim, bool))


def test_slim_is_whose_box_leaves_room_in_the_middle() -> None:
    boxes = [[0, 0, SLIM * 100, 100], [0, 0, SLIM * 100 + 1, 100], [0, 0, 90, 60], [5, 5, 5, 5]]
    frames = [Frame(0, 0.0, np.zeros((200, 300, 3), np.uint8))] * 2
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    people = Detections(np.array(boxes, np.float32), np.ones(4, np.float32))
    assert cut(frames, [nobody, people], (192, 256), 1.15).slim.tolist() == [
        True,
        False,
        False,
        True,
    ]
    columns = narrow_columns((192, 256))
    assert (columns.start, columns.stop) == (32, 160)
    assert columns.stop - columns.start > SLIM * 256 / 1.15


class Watched:
    """A network that tells how many pictures of which width it was given."""

    def __init__(self, path: Path, narrow: bool) -> None:
        self.network = load(path, "pose", "openvino", "f32")
        self.spec, self.narrow = self.network.spec, narrow
        self.engine, self.precision, self.device, self.why = "watched", "f32", "cpu", ""
        self.given: list[tuple[int, int]] = []

    def __call__(self, batch: np.ndarray) -> Arrays:
        self.given.append((len(batch), batch.shape[2]))
        return self.network(batch)

    def close(self) -> None:
        self.network.close()


SLIMS = [[], [True], [False], [True, False, True, True, False], [True] * 5, [False] * 5]


@pytest.mark.parametrize("slim", SLIMS)
def test_maps_of_the_middle_columns_are_where_they_were(slim: list[bool], tmp_path: Path) -> None:
    network = Watched(pose_file(tmp_path / "a.onnx", narrow=True), True)
    people = crops(slim)
    whole = network.network(people.pixels)[0]
    expected = whole.copy()
    expected[people.slim, :, :, [[0], [1], [-2], [-1]]] = 0  # of 12 columns
    found = estimate(network, people, max_batch=2)
    assert found.shape[0] == len(slim)
    if slim:
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert sum(n for n, _ in network.given) == len(slim)
    assert sum(n for n, width in network.given if width == 32) == sum(slim)
    assert all(n <= 2 for n, _ in network.given)


def test_a_network_that_has_not_learned_them_is_given_whole_crops(tmp_path: Path) -> None:
    network = Watched(pose_file(tmp_path / "a.onnx"), False)
    assert not takes_narrow(network.network)
    found = estimate(network, crops([True, False]))
    assert network.given == [(2, SIZE_WH[0])]
    np.testing.assert_array_equal(found, network.network(crops([True, False]).pixels)[0])
    with pytest.raises(ModelError, match=r"expected uint8 \(B, 64, 48, 3\)"):
        network.network(pictures(1, size_wh=(32, 64)))


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_other_engines_take_them_as_well(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    path, people = pose_file(tmp_path / "a.onnx", narrow=True), crops([True, False, True])
    reference, network = (load(path, "pose", name, "f32") for name in ("openvino", engine))
    assert takes_narrow(network)
    assert network(pictures(2, size_wh=(32, 64)))[0].shape == (2, 17, 16, 8)
    np.testing.assert_allclose(estimate(network, people), estimate(reference, people), atol=1e-4)
    with pytest.raises(ModelError, match="expected uint8"):
        network(pictures(1, size_wh=(40, 64)))


@pytest.mark.parametrize("streams", [1, 2])
def test_openvino_takes_both_widths_and_no_other(streams: int, tmp_path: Path) -> None:
    network = load(pose_file(tmp_path / "a.onnx", narrow=True), "pose", "openvino", streams=streams)
    people = crops([True, False, True])
    at_once = estimate(network, people)
    begun = Estimate(begin_of(network), cutter_of(people), people.slim, SIZE_WH)
    ahead = begun.heatmaps()
    fields = people.pixels, people.crop_to_frame, people.frame_of, people.slim
    alone = [estimate(network, Crops(*(part[n : n + 1] for part in fields))) for n in range(3)]
    np.testing.assert_allclose(ahead, at_once, atol=1e-4)
    np.testing.assert_allclose(np.concatenate(alone), at_once, atol=1e-4)
    for wrong in ((40, 64), (32, 56), (56, 64)):
        with pytest.raises(ModelError, match="expected uint8"):
            network(pictures(1, size_wh=wrong))
    assert takes_narrow(Halving(network)) and takes_narrow(Shared(network, 1))
    found = Shared(network, 1)(pictures(2, size_wh=(32, 64)))[0]
    assert found.shape == (2, 17, 16, 8)


def test_a_file_cannot_ask_for_narrow_crops_that_are_no_whole_cells(tmp_path: Path) -> None:
    path = pose_file(tmp_path / "a.onnx", narrow=True, input_wh=(64, 64))
    with pytest.raises(ModelError, match="no narrow crops where 64 is the width"):
        identify(path)
    with pytest.raises(ModelError, match="narrow is .1."):
        identify(pose_file(tmp_path / "b.onnx", narrow=1))
