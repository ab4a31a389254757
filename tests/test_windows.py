"""What other systems than Linux have not, or have otherwise. Nothing here replaces a run there."""

from __future__ import annotations

import io
import json
import ntpath
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from commandline import ROOT
from fake_camera import FakeCamera
from test_source_camera import opener

from realtime import atomic, console, opening
from realtime.asked import check_input
from realtime.batch import items
from realtime.cli import parse
from realtime.config_file import as_toml
from realtime.errors import InputError, UsageError
from realtime.sinks import x11
from realtime.sources.camera import open_camera
from realtime.sources.capture import taken_at

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="simulated on Linux")


def python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def as_windows(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = ROOT / "tests" / "as_windows.py", ROOT / "run_camera.py", *arguments
    command = [sys.executable, *map(str, program)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


@linux
def test_a_run_without_what_windows_has_not(tmp_path: Path) -> None:
    """All kinds of outputs, and once more over them."""
    names = ["a.csv", "a.npz", "a.mat", "a.trc", "coco:c.json", "openpose:o"]
    targets = [(*name.rpartition(":")[:2], tmp_path / name.rpartition(":")[2]) for name in names]
    data = [word for kind, colon, path in targets for word in ("--data", f"{kind}{colon}{path}")]
    files = {"output": "a.mp4", "json": "a.jsonl", "screenshot": "a.png", "pictures": "p"}
    files |= {"report": "r.json", "status-file": "s.json", "log-file": "l.txt"}
    named = [word for key, name in files.items() for word in (f"--{key}", tmp_path / name)]
    wanted = ("--input", "demo", "--end", 4, "--headless", *data, *named)
    for more in ((), ("--overwrite",)):
        done = as_windows(*wanted, *more)
        assert done.returncode == 0, done.stderr
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {name.rpartition(":")[2] for name in names} | set(files.values())
    assert json.loads((tmp_path / "s.json").read_text("utf-8"))["state"] == "done"
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert len(list(video.decode(video=0))) == 4


@linux
def test_names_that_windows_does_not_take_are_one_line(tmp_path: Path) -> None:
    done = as_windows("--input", "demo", "--end", 2, "--output", tmp_path / "a?b.mp4")
    assert done.returncode == 4 and len(done.stderr.splitlines()) == 1
    assert "a?b.mp4: cannot be created" in done.stderr


@linux
def test_times_of_a_live_source_are_finer_than_the_monotonic_clock_of_windows() -> None:
    code = """
import time
time.monotonic = lambda real=time.monotonic: real() // 0.0156 * 0.0156
from realtime.sources.live import Timeline
timeline, times = Timeline(), []
for _ in range(10):
    time.sleep(0.005)
    times.append(timeline.at(None))
print(min(b - a for a, b in zip(times, times[1:])))
"""
    assert float(python(code).stdout) > 0.004


@linux
def test_ctrl_break_ends_a_run_of_windows_in_order() -> None:
    code = """
import os, signal
signal.SIGBREAK = signal.SIGUSR1
from realtime.stop import Stop
stop = Stop()
stop.install()
stop.started = True
os.kill(os.getpid(), signal.SIGUSR1)
print(bool(stop.reason), stop.exit_code)
stop.release()
"""
    assert python(code).stdout.split() == ["True", "0"]


class Raw(io.RawIOBase):
    """What Python has opened for standard error, a console of Windows for example."""

    def __init__(self, fails: bool = False) -> None:
        self.got, self._fails = b"", fails

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._fails:
            raise OSError
        self.got += bytes(data)
        return len(data)


@pytest.mark.parametrize("fails", [False, True])
def test_messages_go_through_the_file_that_python_has_opened(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """That of a console of Windows shows UTF-8, what is written beside it comes out garbled."""
    monkeypatch.delenv("TERM", raising=False)
    raw = Raw(fails)
    stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "__stderr__", stream)
    console.secure()
    print("ä 走", file=sys.stderr)
    assert sys.stderr is not stream and sys.stderr.isatty()
    assert raw.got == (b"" if fails else "ä 走".encode() + os.linesep.encode())


def test_names_that_a_code_page_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(raw := io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    console.secure()
    print("ä 走", flush=True)
    assert raw.getvalue().split() == [b"\xe4", b"\\u8d70"]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8-sig", "utf-16", "cp1252"])
def test_a_configuration_is_read_back_by_whatever_way_it_came_into_the_file(
    tmp_path: Path, encoding: str
) -> None:
    """Windows PowerShell writes UTF-16, cmd the bytes of a code page."""
    settings = parse(["--input", "C:\\ä\\走\U0001f3c3\x7f.mp4", "--json", "-"])
    text = as_toml(settings).replace("\n", "\r\n")
    (tmp_path / "c.toml").write_bytes(text.encode(encoding))
    assert parse(["--config", str(tmp_path / "c.toml")]) == settings


def test_a_path_with_a_drive_is_no_address() -> None:
    with pytest.raises(InputError, match=r"^C:\\v\\walk@home\.mp4: no such file or folder$"):
        check_input("C:\\v\\walk@home.mp4")


def test_windows_has_no_standard_input_to_be_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "STANDARD_INPUT", None)
    with pytest.raises(UsageError, match="^--input -: not on Windows; "):
        opening.open_source(parse(["--input", "-"]))


class Busy:
    """A file that somebody has open for a while."""

    def __init__(self, times: int) -> None:
        self.left = times

    def replace(self, _: Path) -> None:
        self.left -= 1
        if self.left >= 0:
            raise PermissionError


def test_a_file_that_is_open_is_replaced_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "PATIENCE", 0.1)
    path: Any = Busy(3)
    with pytest.raises(PermissionError):
        atomic.move(path, path)
    assert path.left == 2  # Linux: it is something else
    monkeypatch.setattr(atomic, "SHARED", False)
    atomic.move(path, path)
    path.left = 10_000
    with pytest.raises(PermissionError):
        atomic.move(path, path)


def test_videos_on_two_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"")
    drives = ["C:\\a", "D:\\b"]
    monkeypatch.setattr(items.os.path, "commonpath", lambda _: ntpath.commonpath(drives))
    with pytest.raises(UsageError, match=r"a\.mp4, \.\.\.: are on several drives"):
        items.find([str(video)])


@pytest.mark.parametrize(
    ("system", "place"), [("darwin", "System Settings"), ("win32", "Settings, Privacy")]
)
def test_where_cameras_are_allowed_is_told(
    monkeypatch: pytest.MonkeyPatch, system: str, place: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(InputError, match=f"^no camera 0, .* not allowed: .*{place}.*--input demo$"):
        open_camera(0, opener=opener(FakeCamera(present=False)))


def test_stamps_of_cameras_are_of_our_clock_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere they are 0 or count from the start of the camera, which a computer that has just
    been switched on would take for the time since then."""

    class Capture:
        def get(self, _: int) -> float:
            return 20_000.0

    capture: Any = Capture()
    monkeypatch.setattr(sys, "platform", "win32")
    assert taken_at(capture, 30.0) is None
    monkeypatch.setattr(sys, "platform", "linux")
    assert taken_at(capture, 30.0) == 20.0


@linux
def test_a_user_without_a_home_has_no_keys_to_displays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a number for a user."""
    import pwd

    def unknown(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XAUTHORITY", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert list(x11._cookies(b"7")) == []
