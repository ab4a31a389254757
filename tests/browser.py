"""A real Chromium without a window, driven through its own debugging pipe (no driver needed)."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-dev-shm-usage",
    "--disable-background-timer-throttling", "--remote-debugging-pipe",
)  # fmt: skip

START = """import os, sys
reading, writing = (os.dup2(int(given), high) for given, high in zip(sys.argv[1:3], (103, 104)))
os.dup2(reading, 3), os.dup2(writing, 4)
os.execv(sys.argv[3], sys.argv[3:])"""
"""Its debugging pipe is at the descriptors 3 and 4."""


def find_chromium() -> str | None:
    """Its path; POSESTREAM_CHROMIUM names another one."""
    given = os.environ.get("POSESTREAM_CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


def reading(element: str, bits: int, field: int) -> str:
    """A script that looks at an image or canvas at each display frame of the page and reads the
    number written along its bottom as so many black and white fields of so many pixels. Each new
    one is put into window.read as [milliseconds UTC, number]."""
    return f"""(() => {{
      const bits = {bits}, field = {field};
      const small = new OffscreenCanvas(bits, 1);
      const pen = small.getContext("2d", {{ willReadFrequently: true }});
      window.read = [];
      let last = -1;
      const look = () => {{
        const from = document.getElementById("{element}");
        const high = from.naturalHeight ?? from.height;
        if (high) {{
          pen.drawImage(from, 0, high - field, bits * field, field, 0, 0, bits, 1);
          const pixels = pen.getImageData(0, 0, bits, 1).data;
          let number = 0;
          for (let n = 0; n < bits; n += 1) number = 2 * number + (pixels[4 * n] > 127);
          if (number !== last) read.push([performance.timeOrigin + performance.now(), number]);
          last = number;
        }}
        requestAnimationFrame(look);
      }};
      look();
    }})()"""


class Tab:
    """One tab. errors: what the page has complained about (exceptions, refused by its policy)."""

    def __init__(self, browser: _Chromium, session: str) -> None:
        self._browser, self._session = browser, session
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self("" + domain + ".enable")

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, parameters, self._session, self)

    def open(self, url: str) -> None:
        self("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def size(self, width: int, height: int, scale: float = 1, phone: bool = False) -> None:
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=phone,
        )  # fmt: skip

    def dark(self, on: bool) -> None:
        value = "dark" if on else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self("Emulation.setEmulatedMedia", features=features)

    def value(self, script: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, within: float = 30) -> Any:
        """The first value of the expression that is true."""
        deadline = time.monotonic() + within
        while not (value := self.value(script)):
            assert time.monotonic() < deadline, f"not within {within} s: {script}"
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """Press and release a key, as a person would."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        named = {"Tab": 9, "Enter": 13, "Escape": 27, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
        code = named.get(key, ord(key.upper()[0]))
        common = {"key": key, "windowsVirtualKeyCode": code}
        down = {"text": text} if text else {}
        self("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **down)
        self("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self) -> bytes:
        """What is seen, as PNG; again while the browser is still exchanging the page."""
        for attempt in range(20):
            self("Page.bringToFront")
            try:
                return base64.b64decode(self("Page.captureScreenshot", format="png")["data"])
            except AssertionError as error:
                if "active page" not in str(error) or attempt == 19:
                    raise
                time.sleep(0.2)
        raise AssertionError("not reached")

    def heard(self, event: dict[str, Any]) -> None:
        told = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"])[:300])
        if event["method"] == "Log.entryAdded" and told["entry"]["source"] == "security":
            self.errors.append(told["entry"]["text"])


class _Chromium:
    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._numbers = itertools.count(1)
        self._rest = b""

    def call(
        self, method: str, parameters: dict[str, Any], session: str = "", tab: Tab | None = None
    ) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(60)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if tab is not None and "method" in answer:
                tab.heard(answer)

    def _next(self, within: float) -> dict[str, Any]:
        deadline = time.monotonic() + within
        while b"\0" not in self._rest:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._reading], [], [], left)[0], "Chromium is mute"
            data = os.read(self._reading, 1 << 20)
            assert data, "Chromium has ended"
            self._rest += data
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def tab(self) -> Tab:
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        given = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        return Tab(self, given["sessionId"])


@contextmanager
def chromium(profile: Path) -> Iterator[_Chromium]:
    """A running Chromium whose profile is kept in that folder; its tab() gives a tab."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [find_chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", START, str(theirs_in), str(theirs_out), *command],
        pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    browser = _Chromium(ours_in, ours_out)
    try:
        yield browser
        browser.call("Browser.close", {})
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
