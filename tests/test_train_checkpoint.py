"""Checkpoints: whole or not there, damage noticed, kills while saving, full disks."""

from __future__ import annotations

import json
import logging
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime.errors import InputError, OutputError, UsageError

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("safetensors", reason="training needs safetensors (posestream[train])")

from realtime import atomic  # noqa: E402
from train import checkpoint  # noqa: E402
from train.__main__ import main  # noqa: E402
from train.checkpoint import Checkpoint  # noqa: E402
from train.config import Config  # noqa: E402

KILLS = int(os.environ.get("POSESTREAM_KILLS", "20"))
ROOT = Path(__file__).resolve().parent.parent
CONFIG = Config("pose", data=("a.json",), rate=0.1)


def point(value: float, size: int = 50) -> Checkpoint:
    weights = {"w": torch.full((size, size), value).t(), "n": torch.tensor(int(value))}
    state = {"at": {"epoch": int(value)}, "moments": torch.full((size, 3), value)}
    return Checkpoint(CONFIG, weights, {k: v + 1 for k, v in weights.items()}, state)


def saved(out: Path, count: int) -> list[Path]:
    return [checkpoint.save(out, checkpoint.name_of(n, 0), point(n)) for n in range(1, count + 1)]


def value(out: Path) -> float:
    """Of the newest good checkpoint, all parts of which must agree."""
    found = checkpoint.newest(out)
    assert found
    number = found.weights["w"][0, 0].item()
    assert (found.weights["w"] == number).all() and (found.ema["w"] == number + 1).all()
    assert found.weights["n"] == number and found.state["at"]["epoch"] == number
    assert (found.state["moments"] == number).all() and found.config == CONFIG
    return number


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    assert checkpoint.config_in(tmp_path) is None
    (folder,) = saved(tmp_path, 1)
    assert value(tmp_path) == 1
    assert checkpoint.load(folder).config == checkpoint.config_in(tmp_path) == CONFIG
    assert {p.name for p in folder.iterdir()} == {
        "weights.safetensors", "ema.safetensors", "state.pt", "config.json", "manifest.json",
    }  # fmt: skip


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for n in range(1, 6):
        name = checkpoint.name_of(n, 0)
        checkpoint.save(tmp_path, name, point(n), keep=checkpoint.name_of(2, 0))
    assert checkpoint.names(tmp_path) == [checkpoint.name_of(n, 0) for n in (2, 4, 5)]


def test_names_are_ordered_as_numbers(tmp_path: Path) -> None:
    places = [(9, 0), (10, 5), (10, 40), (99_999, 1), (100_000, 0)]
    for place in reversed(places):
        (tmp_path / checkpoint.FOLDER / checkpoint.name_of(*place)).mkdir(parents=True)
    assert checkpoint.names(tmp_path) == [checkpoint.name_of(*place) for place in places]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("hurt", [_cut, _flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize(
    "name", ["weights.safetensors", "state.pt", "config.json", "manifest.json"]
)
def test_a_damaged_one_is_passed_over_with_a_warning(
    name: str, hurt: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, newest = saved(tmp_path, 2)
    hurt(newest / name)
    caplog.set_level(logging.WARNING, "train")
    assert value(tmp_path) == 1
    assert [record.message.startswith(f"warning: {newest}") for record in caplog.records] == [True]
    with pytest.raises(InputError):
        checkpoint.load(newest)
    checkpoint.save(tmp_path, newest.name, point(2))
    assert value(tmp_path) == 2, "a damaged one is replaced"


def test_all_damaged_is_an_error(tmp_path: Path) -> None:
    for folder in saved(tmp_path, 2):
        _cut(folder / "ema.safetensors")
    with pytest.raises(InputError, match="none of its checkpoints"):
        checkpoint.newest(tmp_path)


def test_what_a_killed_process_left_is_no_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    left = tmp_path / checkpoint.FOLDER / f"{checkpoint.TEMPORARY}-{checkpoint.name_of(2, 0)}"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")
    assert value(tmp_path) == 1
    saved(tmp_path, 2)
    assert not left.exists()
    assert value(tmp_path) == 2


class Harmful:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (os.system, ("echo harm > harm.txt",))


def test_a_state_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder,) = saved(tmp_path, 1)
    torch.save({"at": Harmful()}, folder / "state.pt")
    _forge_manifest(folder)
    with pytest.raises(InputError, match=r"state\.pt: refused") as refused:
        checkpoint.newest(tmp_path)
    assert "\n" not in str(refused.value)
    (folder / "state.pt").write_bytes(pickle.dumps(Harmful(), protocol=2))
    _forge_manifest(folder)
    with pytest.raises(InputError):
        checkpoint.newest(tmp_path)
    assert not (tmp_path / "harm.txt").exists()


def _forge_manifest(folder: Path) -> None:
    import hashlib

    sums = {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.iterdir()
        if p.name != checkpoint.MANIFEST
    }
    (folder / checkpoint.MANIFEST).write_text(json.dumps(sums))


def test_options_of_another_version_are_refused(tmp_path: Path) -> None:
    (folder,) = saved(tmp_path, 1)
    (folder / "config.json").write_text('{"task": "pose", "magic": 1}')
    with pytest.raises(UsageError, match="magic"):
        checkpoint.config_in(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", "null", "{"])
def test_damaged_options_are_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in saved(tmp_path, 2):
        (folder / "config.json").write_text(text)
    assert checkpoint.config_in(tmp_path) is None
    assert main(["resume", str(tmp_path)]) == 3
    assert "none of its checkpoints can be read" in capsys.readouterr().err


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from test_train_checkpoint import checkpoint, point, value
torch.set_num_threads(1)
out, luck, inside = Path(sys.argv[1]), random.Random(0), 0
folder = out / checkpoint.FOLDER
checkpoint.save(out, checkpoint.name_of(1, 0), point(1, 300))
for _ in range(int(sys.argv[2])):
    last = value(out)
    child = os.fork()
    if not child:
        number = int(last)
        while True:
            number += 1
            checkpoint.save(out, checkpoint.name_of(number, 0), point(number, 300))
    time.sleep(luck.uniform(0.001, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    inside += any(folder.glob(checkpoint.TEMPORARY + "-*"))
    names = checkpoint.names(out)
    assert value(out) == int(names[-1].split("-")[0]) >= last, "the newest is whole"
checkpoint.save(out, checkpoint.name_of(int(value(out)) + 1, 0), point(1, 300))
assert len(checkpoint.names(out)) == checkpoint.KEPT, "what kills left is removed by the next save"
print(inside)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_kills_while_saving_never_cost_a_run(tmp_path: Path) -> None:
    """The count is in POSESTREAM_KILLS; processes save all the time, so most are hit inside."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path), str(KILLS)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60 + KILLS,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= KILLS // 4, "kills did not hit a save"
    assert "warning" not in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one checkpoint and a half."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(folder)], capture_output=True
    )
    if made.returncode:
        pytest.skip("cannot make a small file system here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_keeps_the_one_before(small_disk: Path) -> None:
    saved(small_disk, 1)
    with pytest.raises(OutputError, match="No space left") as error:
        saved_more(small_disk)
    assert error.value.exit_code == 4
    assert "\n" not in str(error.value)
    assert value(small_disk) >= 1
    assert not list((small_disk / checkpoint.FOLDER).glob(f"{checkpoint.TEMPORARY}*"))


def saved_more(out: Path) -> None:
    for n in range(2, 9):
        checkpoint.save(out, checkpoint.name_of(n, 0), point(n), keep=checkpoint.name_of(1, 0))


@pytest.mark.parametrize("limit", [0, 1000, 12_000])
def test_a_file_that_cannot_grow_is_one_line(limit: int, tmp_path: Path) -> None:
    saved(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OutputError, match="too large"):
            checkpoint.save(tmp_path, checkpoint.name_of(2, 0), point(2))
        with pytest.raises(OutputError, match="too large"):
            atomic.replace(tmp_path / "best", bytes(limit + 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert value(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.FOLDER]
    assert checkpoint.names(tmp_path) == [checkpoint.name_of(1, 0)]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.replace(path, b"old")

    def fail(partial: Path) -> None:
        partial.write_bytes(b"ne")
        raise ValueError("no")

    with pytest.raises(ValueError):
        atomic.replace_by(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    import train_toy as toy  # the process of KILLER, which has this module, needs neither

    from train.loop import Run, train

    holder = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdin and other.stdout
    with other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(OutputError, match="another process trains there"):
            with checkpoint.lock(tmp_path):
                pass
        with pytest.raises(OutputError, match="another process trains there"):
            train(toy.SpotTask(toy.config()), toy.config(), tmp_path, Run("cpu", workers=0))
        other.stdin.close()
        other.wait(10)
    with checkpoint.lock(tmp_path):
        pass
