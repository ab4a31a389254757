"""How old is what a viewer of --serve sees? Measured in a real Chromium without a window: every
picture carries its number as black and white fields, the page's pixels are read back at each of
its display frames, and the age is the time since that picture was handed out by the source.

    python benchmarks/page_latency.py                   the WebSocket of the page
    python benchmarks/page_latency.py --plain           Motion JPEG in an <img>
    python benchmarks/page_latency.py --whole           with detector, pose network and drawing

A display adds up to one frame of its own (17 ms at 60 Hz) to what is printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import chromium, reading  # noqa: E402

from realtime import app, opening  # noqa: E402
from realtime.cli import parse  # noqa: E402
from realtime.records import Frame, Image, PosedFrame, Poses  # noqa: E402
from realtime.scene import Scene  # noqa: E402
from realtime.serve.page import Page  # noqa: E402
from realtime.sources.base import SourceInfo  # noqa: E402
from realtime.status import SourceStatus  # noqa: E402
from realtime.stop import Stop  # noqa: E402

RATE = 25
BITS, FIELD = 12, 40


def numbered(image: Image, number: int) -> Image:
    """A copy with the number as fields along the bottom."""
    image = image.copy()
    for bit in range(BITS):
        white = number >> (BITS - 1 - bit) & 1
        image[-FIELD:, bit * FIELD : (bit + 1) * FIELD] = 255 * white
    return image


class Numbers:
    """See Source: scenes of the demo with numbers, at RATE; given: when each was handed out."""

    def __init__(self, seconds: float) -> None:
        scene = Scene(0, 300, (1280, 720), 30)
        self.info = SourceInfo("demo", "demo", live=True, rate=RATE, size_wh=(1280, 720))
        self.status = SourceStatus()
        self.given: dict[int, float] = {}
        self._pictures = [scene.image(n) for n in range(0, 300, 10)]
        self._seconds = seconds
        self._closed = threading.Event()

    def frames(self) -> Generator[Frame, None, None]:
        began = time.perf_counter()
        for number in range(int(self._seconds * RATE)):
            image = numbered(self._pictures[number % len(self._pictures)], number)
            if self._closed.wait(max(0.0, began + number / RATE - time.perf_counter())):
                return
            self.given[number] = time.time()
            self.status.frame()
            yield Frame(number, number / RATE, image, "demo", time.perf_counter())
        self.status.ended()

    def close(self) -> None:
        self._closed.set()


def pictures_only(source: Numbers, page: Page) -> None:
    """Give the pictures to the page without any network."""
    for frame in source.frames():
        page.write(PosedFrame(frame, Poses.empty(), picture=frame.image))


def whole(source: Numbers, port: int) -> None:
    """The program itself, with the numbers as its camera."""
    opening.open_demo = lambda *_: source  # type: ignore[assignment]
    line = f"--input demo --live --headless --quiet --serve {port}"
    app.run(parse(line.split()), Stop())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", action="store_true", help="Motion JPEG instead of WebSocket")
    parser.add_argument("--whole", action="store_true", help="the whole program")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--port", type=int, default=8137)
    asked = parser.parse_args()
    source = Numbers(asked.seconds + 300)
    page = None if asked.whole else Page(str(asked.port), Stop(), False, 0.3)
    work = (whole, source, asked.port) if asked.whole else (pictures_only, source, page)
    thread = threading.Thread(target=work[0], args=work[1:], daemon=True)
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as browser:
        tab = browser.tab()
        thread.start()
        while len(source.given) < RATE:
            time.sleep(0.1)
        tab.open(f"http://127.0.0.1:{asked.port}/")
        if asked.plain:
            tab.value("socket.onclose = null, socket.close(), 1")
            tab.value(
                "document.getElementById('stage').append(Object.assign(new Image(), "
                "{id: 'still', src: '/stream.mjpg'})), 1"
            )
        tab.value(reading("still" if asked.plain else "picture", BITS, FIELD))
        tab.wait("read.length > 5")
        tab.value("read.length = 0, 1")
        cpu, began = time.process_time(), time.perf_counter()
        time.sleep(asked.seconds)
        seen = tab.value("read")
        cpu, spent = time.process_time() - cpu, time.perf_counter() - began
        source.close()
        thread.join(5)
    ages = [when - 1e3 * source.given[n] for when, n in seen if n in source.given]
    p50, p95 = np.percentile(ages, [50, 95])
    print(
        f"{'plain' if asked.plain else 'socket'}{' whole' if asked.whole else ''}: "
        f"{len(ages)} pictures in {spent:.1f} s, age ms p50 {p50:.0f} p95 {p95:.0f} "
        f"max {max(ages):.0f}; CPU of this process {100 * cpu / spent:.0f} %"
    )
    if page:
        page.close()
    return 0


if __name__ == "__main__":
    cv2.setNumThreads(1)
    sys.exit(main())
