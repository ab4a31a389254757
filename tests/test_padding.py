"""Crops are as much larger than person boxes as the pose network was trained with."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.base import Begin
from engines.identify import identify
from engines.load import find_tiny, load
from realtime import pipeline as product
from realtime.crop import cut
from realtime.detect import Detector
from realtime.flow import Crew
from realtime.ledger import Ledger
from realtime.pose import Cutter, Estimate
from realtime.records import Image
from realtime.sources.base import Span
from realtime.sources.demo import open_demo


@pytest.mark.parametrize("padding", [1.0, 1.15, 1.25])
def test_a_run_cuts_as_its_network_expects(padding: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[Image]] = []

    class Watched(Estimate):
        def __init__(self, begin: Begin, crops: Cutter, *rest: Any, **more: Any) -> None:
            def watched(which: np.ndarray, narrow: bool) -> Image:
                made[-1].append(crops(which, narrow))
                return made[-1][-1]

            made.append([])
            super().__init__(begin, watched, *rest, **more)

    monkeypatch.setattr(product, "Estimate", Watched)
    paths = find_tiny("detector"), find_tiny("pose")
    assert paths[0] and paths[1]
    pose = load(replace(identify(paths[1]), padding=padding), "pose")
    detector = Detector(load(paths[0], "detector"))
    options = product.Options(detect_every=1, batch=1)
    source = open_demo(0, Span(90, 93))
    run = product.Pipeline(source, detector, pose, None, Ledger(False), options)
    crew = Crew()
    with closing(run.frames(crew)) as groups:
        frames = [item.frame for group in groups for item in group]
    assert not crew.join(2)
    for frame, crops in zip(frames, made, strict=True):
        expected = cut([frame], detector([frame]), pose.spec.input_wh, padding)
        assert len(expected) > 2
        np.testing.assert_array_equal(np.concatenate(crops), expected.pixels)
