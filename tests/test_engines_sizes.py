"""Detectors that see all places alike get no more of their input than the frame fills."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from networks import graph_of, helper, write
from numpy.typing import NDArray

from engines.base import STEP, Arrays, ModelSpec, Network, size_step_of
from engines.load import find_default, find_tiny, load
from engines.shared import Shared
from realtime.assignment import assign
from realtime.detect import Detector
from realtime.errors import ModelError
from realtime.geometry import iou
from realtime.halving import Halving
from realtime.records import Frame
from realtime.scene import Scene

FULL_WH = (128, 128)


class Dots:
    """Finds a person of 8 x 16 pixels around each white pixel of its input."""

    engine, precision, device, why = "dots", "f32", "cpu", ""
    size_step = 64

    def __init__(self) -> None:
        self.spec = ModelSpec("dots", "detector", "centers", FULL_WH, Path("dots"), "")
        self.shapes: list[tuple[int, ...]] = []
        self.gate = Event()
        self.gate.set()

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        self.gate.wait(5)
        self.shapes.append(batch.shape[:3])
        centres = (batch.max(3) == 255).astype(np.float32)[:, None]
        sizes = np.broadcast_to(np.float32([4, 8, 4, 8])[:, None, None], (4, *batch.shape[1:3]))
        return [centres, np.repeat(sizes[None], len(batch), 0)]

    def close(self) -> None: ...


def frame(size_wh: tuple[int, int], dot: tuple[int, int]) -> Frame:
    """A black frame with one white pixel at dot (x, y)."""
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    image[dot[1], dot[0]] = 255
    return Frame(0, 0.0, image)


SIZES = ((128, 60), (128, 128), (40, 128), (128, 64), (128, 65))


def test_frames_of_one_size_are_one_batch_of_what_they_fill() -> None:
    frames = [frame(size_wh, (20 + n, 30)) for n, size_wh in enumerate(SIZES)]
    network = Dots()
    found = Detector(network)(frames)
    assert network.shapes == [(2, 64, 128), (2, 128, 128), (1, 128, 64)]
    for n, people in enumerate(found):
        np.testing.assert_allclose(people.boxes_xyxy, [[16 + n, 22, 24 + n, 38]], atol=0.01)


def test_with_and_without_the_rest_of_the_input_the_same_is_found() -> None:
    frames = [frame(size_wh, (10, 12)) for size_wh in SIZES]
    plain = Dots()
    plain.size_step = 0
    for one, other in zip(Detector(Dots())(frames), Detector(plain)(frames), strict=True):
        np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
    assert plain.shapes == [(5, 128, 128)]


def test_several_callers_with_pictures_of_different_sizes() -> None:
    """What waits is a batch for each size, and everybody gets their own."""
    network = Dots()
    shared = Shared(network, 1)
    detect = Detector(shared)
    network.gate.clear()

    def ask(n: int) -> None:
        (found,) = detect([frame(SIZES[n % 3], (20 + n, 30))])
        np.testing.assert_allclose(found.boxes_xyxy, [[16 + n, 22, 24 + n, 38]], atol=0.01)

    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(ask, 0)
        while not shared._turn.locked() or shared._waiting:
            pass
        others = [pool.submit(ask, n) for n in range(1, 7)]
        while len(shared._waiting) < 6:
            pass
        network.gate.set()
        for done in (first, *others):
            done.result(10)
    assert sorted(network.shapes[1:]) == [(2, 64, 128), (2, 128, 64), (2, 128, 128)]


ENGINES = ["openvino", "onnxruntime", "torch"]


@pytest.fixture(scope="module", params=ENGINES)
def bundled(request: pytest.FixtureRequest) -> Network:
    path = find_default("detector")
    assert path
    pytest.importorskip(request.param)
    return load(path, "detector", request.param)


def test_bundled_detectors_take_smaller_pictures(bundled: Network) -> None:
    width, height = bundled.spec.input_wh
    assert size_step_of(bundled) == size_step_of(Halving(bundled)) == STEP
    for size_wh in ((width, height), (width, 192), (64, height), (64, 64)):
        shapes = [a.shape for a in bundled(np.zeros((2, size_wh[1], size_wh[0], 3), np.uint8))]
        assert shapes == [(2, n, size_wh[1] // 4, size_wh[0] // 4) for n in (1, 4)]


@pytest.mark.parametrize(
    "size_wh", [(320, 190), (0, 64), (320, 384), (384, 320), (32, 64)], ids=str
)
def test_other_sizes_are_refused(bundled: Network, size_wh: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="expected uint8"):
        bundled(np.zeros((1, size_wh[1], size_wh[0], 3), np.uint8))


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_engines_find_the_same_people(engine: str) -> None:
    """In pictures of which the network needs a part of its input."""
    path = find_tiny("detector")
    assert path
    pytest.importorskip(engine)
    scene = Scene(3, 300, (1280, 720), 30.0)
    frames = [Frame(n, n / 30, scene.image(n)) for n in range(60, 300, 60)]
    ours, theirs = (
        Detector(load(path, "detector", name, "f32"))(frames) for name in ("openvino", engine)
    )
    assert sum(map(len, ours)) > 5
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=0.05)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)


def test_people_of_a_scene_are_found_as_in_the_whole_input() -> None:
    """The demo scene in 4:3, of which the tiny network needs four fifths of its width. What both
    find are the same boxes, but for an edge that is hidden; at the edge of the grey the whole input
    makes up some more."""
    path = find_tiny("detector")
    assert path
    network = load(path, "detector", "openvino", precision="f32")
    scene = Scene(3, 300, (960, 720), 30.0)
    frames = [Frame(n, n / 30, scene.image(n)) for n in range(0, 300, 30)]
    found, wanted = Detector(network)(frames), Detector(Whole(network))(frames)
    pairs = 0
    for one, other in zip(found, wanted, strict=True):
        rows, columns = assign(iou(one.boxes_xyxy, other.boxes_xyxy), 0.5)
        assert len(rows) == len(one) <= len(other)
        assert np.abs(one.boxes_xyxy[rows] - other.boxes_xyxy[columns]).max(initial=0) < 20
        pairs += len(rows)
    assert pairs >= 10


class Whole:
    """A network without the size step of another."""

    def __init__(self, network: Network) -> None:
        self._network, self.spec = network, network.spec
        self.engine, self.precision = network.engine, network.precision
        self.device, self.why = network.device, network.why

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        return self._network(batch)

    def close(self) -> None:
        self._network.close()


def centres_file(path: Path, nodes: Sequence[object], **description: object) -> Path:
    """A "centers" network for FULL_WH that makes both maps of "planes", float32 NCHW, in "maps"."""
    nodes = [
        *nodes,
        helper.make_node("Slice", ["maps", "zero", "one", "axis"], ["centers"]),
        helper.make_node("Concat", ["maps", "centers"], ["sizes"], axis=1),
    ]
    weights = {"zero": np.int64([0]), "one": np.int64([1]), "axis": np.int64([1])}
    weights["shape"] = np.int64([0, 3, 128, 128])
    shapes = [("centers", 1, [1, 1, 128, 128]), ("sizes", 1, [1, 4, 128, 128])]
    graph = graph_of(nodes, [("planes", 1, [1, 3, 128, 128])], shapes, weights)
    told = {"name": "c", "task": "detector", "format": "centers", "input_wh": FULL_WH}
    return write(path, graph, {**told, **description})


@pytest.mark.parametrize("engine", ENGINES[:2])
def test_sizes_that_are_part_of_a_network_stay(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine)
    free = centres_file(tmp_path / "a.onnx", [helper.make_node("Relu", ["planes"], ["maps"])])
    fixed = centres_file(
        tmp_path / "b.onnx", [helper.make_node("Reshape", ["planes", "shape"], ["maps"])]
    )
    assert size_step_of(load(free, "detector", engine)) == STEP
    network = load(fixed, "detector", engine)
    assert size_step_of(network) == 0
    assert [a.shape for a in network(np.zeros((3, 128, 128, 3), np.uint8))] == [
        (3, 1, 128, 128), (3, 4, 128, 128),
    ]  # fmt: skip


def test_pose_networks_have_one_size() -> None:
    path = find_tiny("pose")
    assert path and size_step_of(load(path, "pose", "openvino")) == 0
