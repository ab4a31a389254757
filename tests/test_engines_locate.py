"""Crops, network and peaks on one device give the joints of the plain way; here on the CPU, with a
GPU where there is one."""

from __future__ import annotations

import json
import logging
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from engines import cuda, selfcheck  # noqa: E402
from engines.base import Options  # noqa: E402
from engines.identify import identify, read  # noqa: E402
from engines.load import find_tiny, load  # noqa: E402
from engines.shared import Shared  # noqa: E402
from engines.torch import TorchNetwork  # noqa: E402
from engines.torch_decode import Peaks  # noqa: E402
from engines.torch_locate import Locate, _Graph, _Pinned, trusted  # noqa: E402
from realtime.crop import cut, places  # noqa: E402
from realtime.decode import METHODS, Method, cells_to_crop, decode  # noqa: E402
from realtime.errors import ModelError, OutOfMemory  # noqa: E402
from realtime.geometry import apply  # noqa: E402
from realtime.halving import Halving  # noqa: E402
from realtime.records import Detections, Frame  # noqa: E402
from realtime.scene import Scene  # noqa: E402
from run_camera import main  # noqa: E402
from tests.test_run import tiny  # noqa: E402

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not cuda.count(), reason="needs an NVIDIA GPU")


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 2**32 - 1), size_wh=st.sampled_from([(12, 16), (4, 5), (2, 3), (1, 1)]))
@settings(max_examples=25)
def test_peaks_are_those_of_decode(method: Method, seed: int, size_wh: tuple[int, int]) -> None:
    """On noise, flat maps, Gaussians at and over the border, and what is not finite."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(0, 0.3, (3, 17, size_wh[1], size_wh[0])).astype(np.float32)
    y, x = np.mgrid[: size_wh[1], : size_wh[0]]
    centre = rng.uniform(-1, np.array(size_wh), (17, 2))
    apart = (x - centre[:, :1, None]) ** 2 + (y - centre[:, 1:, None]) ** 2
    maps[1] = np.exp(-apart / 8)
    maps[2, :4] = 0.25
    maps[2, 5, 0, 0], maps[2, 6, -1, -1], maps[2, 7, 0, -1] = np.nan, np.inf, -np.inf
    crop_wh = size_wh[0] * 4, size_wh[1] * 4
    wanted, scores = decode(maps, method, "pixel_centre", crop_wh, 2.0)
    cells, found_scores = Peaks(method, 2.0, CPU)(torch.from_numpy(maps))
    found = apply(cells_to_crop("pixel_centre", size_wh, crop_wh), cells.numpy().reshape(-1, 2))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=2e-3)
    np.testing.assert_array_equal(found_scores.numpy(), scores)


def network(compute: str = "cpu") -> TorchNetwork:
    """The tiny pose network of the demo scene."""
    path = find_tiny("pose")
    assert path is not None
    net = load(path, "pose", "torch", "f32", compute)
    assert isinstance(net, TorchNetwork)
    return net


def located(net: TorchNetwork, **more: Any) -> Locate:
    return Locate(net.spec, net._heatmaps, net._place, **more)


def people(count: int = 3) -> tuple[list[Frame], list[Detections]]:
    """Pictures of several sizes, the second with nobody, and boxes also over their borders."""
    frames, found = [], []
    for n, size_wh in enumerate([(960, 540), (321, 241), (640, 480), (97, 203)][: count + 1]):
        scene = Scene(n, 30, size_wh)
        boxes = scene.truth(7).boxes_xyxy if n != 1 else np.zeros((0, 4), np.float32)
        boxes = boxes + np.float32([-3.3, 1.7, 4.1, 60.9]) if len(boxes) else boxes
        frames.append(Frame(n, 0.0, scene.image(7)))
        found.append(Detections(boxes, np.ones(len(boxes), np.float32)))
    assert sum(map(len, found)) >= 3
    return frames, found


def test_crops_are_those_of_cut() -> None:
    """Up to the 1/32 pixel to which OpenCV rounds."""
    frames, found = people()
    net = network()
    to_crop, frame_of = places(found, net.spec.input_wh, net.spec.padding)
    inverse = cut(frames, found, net.spec.input_wh, net.spec.padding)
    pictures = [frame.image for frame in frames]
    locate = located(net)
    crops = locate._cut(locate._sent(pictures, inverse.crop_to_frame, frame_of), slice(None))
    assert crops.dtype == torch.float32 and (crops == crops.round()).all()
    apart = np.abs(crops.permute(0, 2, 3, 1).numpy() - inverse.pixels)
    assert apart.mean() < 0.5 and np.percentile(apart, 99) <= 4
    outside = cv2.erode((inverse.pixels.max(3) == 0).astype(np.uint8)[0], np.ones((5, 5)))
    assert crops[0].amax(0).numpy()[outside > 0].max(initial=0) == 0
    np.testing.assert_array_equal(to_crop.shape, inverse.crop_to_frame.shape)


@pytest.mark.parametrize("method", METHODS)
def test_joints_are_those_of_the_plain_way(method: Method) -> None:
    """People of several pictures of different sizes, in calls of two crops at most."""
    frames, found = people()
    net = network()
    spec = net.spec
    to_crop, frame_of = places(found, spec.input_wh, spec.padding)
    heatmaps = net(cut(frames, found, spec.input_wh, spec.padding).pixels)[0]
    wanted, scores = decode(heatmaps, method, spec.grid, spec.input_wh, spec.sigma)
    pictures = [frame.image for frame in frames]
    got, got_scores = located(net, most=2)(pictures, to_crop, frame_of, method)
    sure = scores > 0.4
    assert sure.sum() > 20
    apart = np.linalg.norm(got - wanted, axis=2)[sure]
    assert np.percentile(apart, 95) < (4.01 if method == "argmax" else 0.5)
    assert np.median(apart) < 0.1
    assert np.abs(got_scores - scores).max() < 0.1


def test_nobody_and_views() -> None:
    net = network()
    locate = located(net)
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    points, scores = locate([], *places([], net.spec.input_wh, net.spec.padding), "udp")
    assert points.shape == (0, 17, 2) and scores.shape == (0, 17)
    frames, found = people(0)
    wide = np.zeros((540, 1920, 3), np.uint8)
    wide[:, ::2] = frames[0].image
    nothing = places([nobody, *found], net.spec.input_wh, net.spec.padding)
    plain = locate([wide, frames[0].image], *nothing, "udp")
    view = locate([wide, wide[:, ::2]], *nothing, "udp")
    np.testing.assert_array_equal(plain[0], view[0])


def test_one_that_finds_other_joints_is_not_used(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "engines.torch_locate")
    net = network()
    assert trusted(net, located(net)) is not None
    assert "all on the GPU: " in caplog.text
    moved = Locate(net.spec, lambda crops: net._heatmaps(crops.roll(9, 3)), CPU)
    assert trusted(net, moved) is None and "so the CPU cuts: " in caplog.text
    assert " px, mean OKS" in caplog.text and "nothing to compare" not in caplog.text
    whole = net._outputs
    monkeypatch.setattr(net, "_outputs", lambda pixels: [maps * 0.25 for maps in whole(pixels)])
    assert trusted(net, located(net)) is None
    assert "so the CPU cuts: no joint is sure, so there is nothing to compare" in caplog.text
    monkeypatch.undo()

    def fails(crops: Any) -> Any:
        raise RuntimeError("CUDA error: too bad\nmore")

    assert trusted(net, Locate(net.spec, fails, CPU)) is None

    def slips(crops: Any) -> Any:
        raise IndexError("of our own")

    assert trusted(net, Locate(net.spec, slips, CPU)) is None
    assert "IndexError: of our own; crops are cut on the CPU" in caplog.text
    assert "PyTorch failed: CUDA error: too bad; crops are cut on the CPU" in caplog.text


def test_what_fails_later_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Memory that is full once means half as much at once from then on."""
    net = network()
    errors: list[Exception] = [RuntimeError("CUDA error: gone\nmore"), torch.OutOfMemoryError("x")]
    sizes = []

    def fails(crops: Any) -> Any:
        if errors:
            raise errors.pop(0)
        sizes.append(len(crops))
        return net._heatmaps(crops)

    frames, found = people(0)
    locate = Locate(net.spec, fails, CPU)
    asked = [frames[0].image], *places(found, net.spec.input_wh, net.spec.padding), "udp"
    with pytest.raises(ModelError, match="PyTorch failed: CUDA error: gone$"):
        locate(*asked)
    count = len(found[0])
    assert count > 1 and locate(*asked)[0].shape == (count, 17, 2)
    assert sizes == [(count + 1) // 2, count // 2]
    assert f"going on with {(count + 1) // 2} at once" in caplog.text
    assert count > 2  # so that it can be halved twice
    errors += [torch.OutOfMemoryError("x")] * 2
    locate = Locate(net.spec, fails, CPU)
    assert locate(*asked)[0].shape == (count, 17, 2)
    errors += [torch.OutOfMemoryError("x")] * count
    with pytest.raises(OutOfMemory, match="GPU memory is full"):
        locate(*asked)


def test_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network that has it, the same people at the same places; not while heatmaps show."""
    calls = []

    def run(name: str, *more: str) -> list[Any]:
        args = ["--input", "demo", "--end", "24", "--headless", "--quiet", *map(str, tiny())]
        out = tmp_path / name
        args += ["--engine", "torch", "--precision", "f32", "--json", str(out), *more]
        assert main(args) == 0
        return [json.loads(line) for line in out.read_text().splitlines()]

    plain = run("plain.jsonl")
    first = TorchNetwork.__init__

    def with_locate(net: TorchNetwork, spec: Any, data: bytes, options: Options) -> None:
        first(net, spec, data, options)
        if spec.task == "pose":
            locate = located(net)
            net.locate = lambda *a: calls.append(1) or locate(*a)  # type: ignore[assignment,func-returns-value]

    monkeypatch.setattr(TorchNetwork, "__init__", with_locate)
    device = run("device.jsonl")
    assert calls and len(device) == len(plain) == 24
    apart = []
    for one, other in zip(plain, device, strict=True):
        assert [p["id"] for p in one["people"]] == [p["id"] for p in other["people"]]
        for a, b in zip(one["people"], other["people"], strict=True):
            joints = np.array([a["keypoints"], b["keypoints"]])
            sure = joints[0, :, 2] > 0.4
            apart.append(np.linalg.norm(joints[0, sure, :2] - joints[1, sure, :2], axis=1))
    assert len(apart) > 40 and np.percentile(np.concatenate(apart), 95) < 1
    count = len(calls)
    video = ["--output", str(tmp_path / "heat.mp4"), "--overlay", "heatmap"]
    run("heat.jsonl", *video)
    assert len(calls) == count


@needs_gpu
def test_graphs_give_what_the_gpu_gives_without() -> None:
    net = network("cuda")
    assert net.locate is not None
    frames, found = people()
    to_crop, frame_of = places(found, net.spec.input_wh, net.spec.padding)
    asked = [frame.image for frame in frames], to_crop, frame_of, "udp"
    graphs, plain = located(net), located(net, graphs=False)
    for _ in range(5):  # the pinned buffers come round
        for got, wanted in zip(graphs(*asked), plain(*asked), strict=True):
            np.testing.assert_allclose(got, wanted, atol=0.05)
    assert graphs._graphs and graphs._use_graphs
    assert selfcheck.located(net, graphs).good


@needs_gpu
def test_half_precision_on_a_gpu() -> None:
    path = find_tiny("pose")
    assert path is not None
    spec = replace(identify(path), path=path)
    net = TorchNetwork(spec, read(path), Options("f16", "cuda"))
    assert net.locate is not None


def test_pictures_go_up_through_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the memory and the events of a GPU left out: shapes and bytes, also as slots come round
    and pictures grow."""

    class Event:
        def synchronize(self) -> None: ...
        def record(self) -> None: ...

    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(
        torch, "empty", lambda *size, pin_memory=False, **kind: empty(*size, **kind)
    )
    pinned, rng = _Pinned(), np.random.default_rng(0)
    for height in (4, 4, 9, 2, 4, 12):
        picture = rng.integers(0, 255, (height, 5, 3), np.uint8)
        picture.flags.writeable = False
        np.testing.assert_array_equal(pinned.upload(picture, CPU).numpy(), picture)
    net = network()
    locate = located(net)
    locate._pinned = pinned
    assert trusted(net, locate) is locate


@pytest.mark.parametrize("failure", [RuntimeError("no kernel image"), MemoryError(), OSError("x")])
def test_a_gpu_that_cannot_be_used_leaves_the_cpu(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a driver or a library makes of it."""

    def fails(*_: object) -> None:
        raise failure

    monkeypatch.setattr(cuda, "count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("engines.torch.Prepared", fails)
    path = find_tiny("pose")
    assert path is not None
    net = load(path, "pose")
    assert net.device == "cpu" and "engine torch cannot be used: " in caplog.text


def test_a_teacher_computes_as_it_was_asked_to() -> None:
    """Also where those who learn from it compute in bf16."""
    net, crops = network(), np.random.default_rng(0).integers(0, 255, (2, 256, 192, 3), np.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        within = net(crops)[0]
    np.testing.assert_array_equal(within, net(crops)[0])


def test_full_memory_is_free_when_half_is_tried() -> None:
    """A tensor that the failed attempt had made."""
    net = network()
    held: list[Any] = []

    def heatmaps(crops: torch.Tensor) -> torch.Tensor:
        if not held:
            large = crops * 2
            held.append(weakref.ref(large))
            raise torch.OutOfMemoryError("full")
        assert held[0]() is None
        return net._heatmaps(crops)

    frames, found = people()
    locate, one = Locate(net.spec, heatmaps, CPU), located(net)
    asked = places(found, net.spec.input_wh, net.spec.padding)
    images = [frame.image for frame in frames]
    for mine, wanted in zip(locate(images, *asked, "udp"), one(images, *asked, "udp")):
        np.testing.assert_allclose(mine, wanted, atol=1e-4)


def test_crops_that_do_not_fit_are_cut_in_halves_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each picture sent once, whatever is tried."""
    net = network()
    frames, found = people()
    asked = places(found, net.spec.input_wh, net.spec.padding)
    images = [frame.image for frame in frames]
    wanted = located(net)(images, *asked, "udp")
    warp, sent = torch.nn.functional.grid_sample, []

    def small(planes: torch.Tensor, grid: torch.Tensor, *more: Any, **options: Any) -> Any:
        if len(grid) > most:
            raise torch.OutOfMemoryError("full")
        return warp(planes, grid, *more, **options)

    def upload(picture: Any) -> torch.Tensor:
        sent.append(picture.shape)
        return torch.tensor(picture)

    most = max(map(len, found)) - 1
    assert most > 0
    monkeypatch.setattr("engines.torch_locate.F.grid_sample", small)
    locate = located(net, most=most + 1)
    monkeypatch.setattr(locate, "_upload", upload)
    for mine, one in zip(locate(images, *asked, "udp"), wanted):
        np.testing.assert_allclose(mine, one, atol=1e-4)
    assert len(sent) == sum(len(people) > 0 for people in found)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """CUDA graphs that record nothing, with the GPU left out: the threads that are recording."""
    recording: list[int] = []

    class Recording:
        def __init__(self, graph: object, **_: object) -> None: ...

        def __enter__(self) -> None:
            recording.append(threading.get_ident())
            time.sleep(0.02)

        def __exit__(self, *_: object) -> None:
            recording.remove(threading.get_ident())

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda place: None)
    monkeypatch.setattr(torch.cuda, "graph", Recording)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return recording


def test_one_thread_at_a_time_makes_a_graph(recorded: list[int]) -> None:
    """What a library does at its first run, and waiting for the GPU, break what others record."""
    broken = []

    def run(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        broken.extend(n for n in recorded if n != threading.get_ident())
        return batch, batch

    batch, start = torch.zeros(2, 3), threading.Barrier(3)

    def make() -> None:
        start.wait()
        for _ in range(3):
            _Graph(run, batch, 4)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not broken and not recorded


def test_a_graph_that_fails_is_free_when_it_is_done_without(
    recorded: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    net, held = network(), list[Any]()

    def heatmaps(crops: torch.Tensor) -> torch.Tensor:
        if recorded:
            large = crops * 2
            held.append(weakref.ref(large))
            raise RuntimeError("capture failed")
        assert not held or held[0]() is None
        return net._heatmaps(crops)

    frames, found = people(0)
    locate = Locate(net.spec, heatmaps, CPU)
    locate._use_graphs = True
    asked = [frames[0].image], *places(found, net.spec.input_wh, net.spec.padding), "udp"
    assert len(locate(*asked)[0]) == len(found[0])
    assert held and "runs without CUDA graphs: capture failed" in caplog.text


def test_a_closed_network_that_locates_is_gone() -> None:
    """The two refer to each other; what locates may still be known to somebody."""
    net = network()
    net.locate = located(net)
    held = weakref.ref(net._net)
    shared = Shared(Halving(net), 1)
    del net
    shared.close()
    assert held() is None and shared.locate is None
    with pytest.raises(ModelError, match="is closed"):
        shared(np.zeros((1, 256, 192, 3), np.uint8))


def test_several_sources_share_what_locates() -> None:
    """One call after the other, as the network is not made for more."""

    class Stub:
        spec, engine, precision, device, why = network().spec, "torch", "f32", "cpu", ""
        inside, most = 0, 0

        def locate(self, *asked: Any) -> Any:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.01)
            self.inside -= 1
            return asked

    stub = Stub()
    shared = Shared(stub, 2)  # type: ignore[arg-type]
    assert shared.locate
    threads = [threading.Thread(target=lambda: [shared.locate(n) for n in range(5)]) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stub.most == 1 and Shared(network(), 1).locate is None
