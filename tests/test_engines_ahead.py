"""Batches computed at the same time give what they give one after the other."""

from __future__ import annotations

import gc
from contextlib import closing

import numpy as np
import pytest

from engines.base import Network
from engines.load import find_tiny, load
from realtime.detect import Detector
from realtime.errors import ModelError
from realtime.flow import Crew
from realtime.halving import Halving
from realtime.ledger import Ledger
from realtime.pipeline import STREAMS, Options, Pipeline
from realtime.records import PosedFrame
from realtime.sources.base import Span
from realtime.sources.demo import open_demo

pytest.importorskip("openvino", reason="needs OpenVINO")

CALLS = 12


def tiny(streams: int, threads: int | None = None) -> Network:
    path = find_tiny("pose")
    assert path
    return load(path, "pose", engine="openvino", precision="f32", threads=threads, streams=streams)


@pytest.fixture(scope="module")
def several() -> Network:
    return tiny(STREAMS, threads=2)


def batches(sizes: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (size, 256, 192, 3), np.uint8) for size in sizes]


@pytest.mark.parametrize("order", ["as begun", "backwards", "late"])
def test_each_batch_has_its_own_outputs(order: str, several: Network) -> None:
    given = batches([1, 4, 2, 1, 3, 0, 2, 1, 2, 5, 1, 2][:CALLS])
    wanted = [several(batch)[0] for batch in given]
    begun = []
    for batch in given:
        begun.append(several.begin(batch.copy()))  # held by nobody else
        if order == "as begun" and len(begun) > 2:
            begun[-3].outputs()
    gc.collect()
    for n in range(CALLS)[:: -1 if order == "backwards" else 1]:
        np.testing.assert_array_equal(begun[n].outputs()[0], wanted[n])
        assert begun[n].ready
    assert begun[0].outputs() is begun[0].outputs()


def test_what_nobody_takes_is_no_hindrance(several: Network) -> None:
    (batch,) = batches([2])
    for _ in range(20):
        several.begin(batch)
    np.testing.assert_array_equal(several.begin(batch).outputs()[0], several(batch)[0])


def test_closing_waits_for_what_was_begun() -> None:
    network, (batch,) = tiny(STREAMS, threads=2), batches([2])
    wanted, begun = network(batch)[0], network.begin(batch)
    network.close()
    network.close()
    np.testing.assert_array_equal(begun.outputs()[0], wanted)


def test_wrong_batches_are_refused(several: Network) -> None:
    with pytest.raises(ModelError, match="expected uint8"):
        several.begin(np.zeros((1, 64, 48, 3), np.uint8))


class Unlucky:
    """A compiled network, and its requests, that cannot begin to compute, or cannot end."""

    def __init__(self, at_once: bool) -> None:
        self._at_once = at_once

    def create_infer_request(self) -> Unlucky:
        return self

    def start_async(self, *_: object, **__: object) -> None:
        if self._at_once:
            self.wait()

    def wait(self) -> None:
        raise RuntimeError(
            "Exception from src/infer.cpp:79:\nCheck 'room' failed\nno memory left\n"
        )


@pytest.mark.parametrize("at_once", [False, True])
def test_a_failure_is_one_line_with_the_name_of_the_network(
    at_once: bool, several: Network
) -> None:
    from engines.openvino_ahead import Ahead

    begun = Ahead(several.spec, Unlucky(at_once), 2)(batches([1])[0])
    with pytest.raises(ModelError) as failed:
        begun.outputs()
    assert str(failed.value) == f"{several.spec.name}: OpenVINO failed: no memory left"


def test_one_thread_has_nothing_to_share() -> None:
    for streams, threads in ((2, 1), (1, 2)):
        assert tiny(streams, threads).begin is None


def posed(pose: Network) -> list[PosedFrame]:
    path = find_tiny("detector")
    assert path
    source, options = open_demo(0, Span(60, 90)), Options(batch=4)
    detector = Detector(load(path, "detector", precision="f32"))
    pipeline, crew = Pipeline(source, detector, pose, None, Ledger(False), options), Crew()
    with closing(pipeline.frames(crew)) as groups:
        items = [item for group in groups for item in group]
    assert not crew.join(2)
    assert {name: pipeline.meters[name].frames for name in ("crop", "pose", "decode")} == {
        "crop": 30, "pose": 30, "decode": 30,
    }  # fmt: skip
    return items


def test_a_run_finds_the_same(several: Network) -> None:
    """In order, and also when the network is one that cannot begin batches."""
    ahead, plain = posed(Halving(several)), posed(tiny(1))
    assert [item.frame.index for item in ahead] == list(range(60, 90))
    assert sum(len(item.poses) for item in ahead) > 60
    for one, other in zip(ahead, plain, strict=True):
        assert one.frame.index == other.frame.index
        np.testing.assert_allclose(one.poses.joints_xy, other.poses.joints_xy, atol=0.02)
        np.testing.assert_array_equal(one.poses.ids, other.poses.ids)
