"""The installed commands where the user has a train.py, an engines.py and a realtime.py."""

from __future__ import annotations

import configparser
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import media
import pytest

from realtime.home import ROOT, at_home

NETWORKS = [
    f"--{task}={ROOT / 'tests' / 'data' / f'tiny_{task}.onnx'}" for task in ("detector", "pose")
]
SCRIPT = """import sys
from {module} import {function}
if __name__ == "__main__":
    sys.exit({function}())
"""
"""What pip puts into its bin folder, which then is the first place for imports."""

pytestmark = pytest.mark.timeout(300)


class Place:
    """mine: where the user is, with modules called as our packages are. bin: our commands."""

    def __init__(self, folder: Path) -> None:
        self.mine, self.bin = folder / "mine", folder / "bin"
        self.mine.mkdir()
        self.bin.mkdir()
        for name in ("train", "engines", "realtime"):
            (self.mine / f"{name}.py").write_text('raise RuntimeError("own file taken")\n')
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        for line in setup["options.entry_points"]["console_scripts"].split("\n")[1:]:
            name, where = line.split(" = ")
            module, function = where.split(":")
            (self.bin / name).write_text(SCRIPT.format(module=module, function=function))

    def run(self, command: str | Path, *arguments: object) -> str:
        """Run a command in mine; what it printed."""
        done = subprocess.run(
            [sys.executable, str(self.bin / command), *map(str, arguments)],
            cwd=self.mine,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_run_its_page_and_the_networks(place: Place) -> None:
    place.run("posestream", "--input", "demo", "--end", 3, "--headless", "--json", "a.jsonl")
    place.run(ROOT / "run_camera.py", "--input=demo", "--end=2", "--headless", "--json=b.jsonl")
    assert place.run("posestream-report", "a.jsonl") == "a.html\n"
    assert "posestream-engines pull NAME" in place.run("posestream-engines", "list")


def test_training_with_processes_of_its_own(place: Place) -> None:
    pytest.importorskip("torch", reason="training needs torch (posestream[train])")
    place.run("posestream-train", "demo-data", "--out", "d", "--images", 2, "--size", "320x180")
    place.run(
        "posestream-train", "pose", "--out", "run", "--data", "d/people.json", "--epochs", 1,
        "--batch", 2, "--input-wh", "64x64", "--device", "cpu", "--threads", 1, "--workers", 1,
    )  # fmt: skip
    assert (place.mine / "run" / "log.csv").exists()


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="workers need Ray")
def test_a_batch(place: Place) -> None:
    """Its workers also find files in an archive that is named as seen from here."""
    media.video(place.mine / "a.mp4", 3)
    with zipfile.ZipFile(place.mine / "clips.zip", "w") as archive:
        archive.write(place.mine / "a.mp4", "b.mp4")
    place.run(
        "posestream-batch", "a.mp4", "zip://*.mp4::clips.zip", "--out", "out", "--workers", 1,
        "--cores-each", 1, *NETWORKS,
    )  # fmt: skip
    assert sorted(p.name for p in (place.mine / "out").glob("*.jsonl")) == [
        "a.mp4.jsonl", "b.mp4.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["posestream", *(f"posestream-{n}" for n in ("batch", "report", "clean"))]
)
def test_usage_says_how_it_was_started(place: Place, name: str) -> None:
    text = place.run(name, "--help")
    assert text.startswith(f"usage: {name} [-h]")
    assert f"\n  {name} " in text.partition("examples:")[2]


def test_usage_of_the_script(place: Place) -> None:
    text = place.run(ROOT / "run_camera.py", "--help")
    assert text.startswith("usage: run_camera.py [-h]")
    assert "\n  python run_camera.py --bench " in text


def test_at_home_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="inside"), at_home():
        assert Path.cwd() == ROOT
        raise ValueError("inside")
    assert Path.cwd() == tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
def test_at_home_where_the_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with at_home(), pytest.raises(FileNotFoundError):
        Path.cwd()
