"""Fetched weights: where they are, what is trusted, how they are named, and what runs them."""

from __future__ import annotations

import ast
import copy
import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commandline import demo, run
from networks import graph_of, helper, onnx, pictures, write

from engines import bundled, cache, choose, importers, plan_cache, pull
from engines.__main__ import main
from engines.identify import identify
from engines.load import find_tiny, load
from engines.published import PUBLISHED, Published
from engines.registry import KNOWN
from realtime.detect import Detector
from realtime.errors import ModelError
from realtime.opening import model_spec
from realtime.records import Frame
from realtime.sources.base import SourceInfo

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("POSESTREAM_SHARED", ROOT.parent / "shared"))
POSE, DETECTOR = "pose-resnet18-coco", "detector-fasterrcnn-mobilenet"
TINY = {task: find_tiny(task) for task in ("pose", "detector")}
DEMO = SourceInfo("demo", "demo", (640, 480), 30.0, None, False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(path))
    return path


def keep(folder: Path, name: str, data: bytes | None = None, suffix: str = ".onnx") -> Path:
    """Put a file into the cache as pull does, by default the tiny network of the same task."""
    entry = PUBLISHED[name]
    folder.mkdir(exist_ok=True)
    part = folder / f"{name}.part"
    part.write_bytes(TINY[entry.task].read_bytes() if data is None else data)
    return cache.store(entry, part, suffix)


# --- where --------------------------------------------------------------------------------------


def test_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "x"))
    assert cache.cache_dir() == tmp_path / "x"
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    places = {"linux": "xdg", "darwin": "Library/Caches", "win32": "local"}
    for platform, place in places.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert cache.cache_dir() == tmp_path / place / "posestream"
    monkeypatch.setattr(sys, "platform", "linux")
    for wrong in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", wrong)
        assert cache.cache_dir() == tmp_path / ".cache" / "posestream"


def test_a_user_without_a_home_has_fetched_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache.present("pose") == [] and choose.strongest("pose") is None
    with pytest.raises(ModelError, match="set POSESTREAM_CACHE"):
        cache.open_cached(PUBLISHED[POSE])


# --- what is trusted ----------------------------------------------------------------------------


def test_what_is_not_there_says_how_to_get_it(folder: Path) -> None:
    with pytest.raises(ModelError, match=f"fetch it: posestream-engines pull {POSE}$") as caught:
        cache.open_cached(PUBLISHED[POSE])
    assert "\n" not in str(caught.value)
    assert not folder.exists()


def test_changed_and_missing_files_are_refused(folder: Path) -> None:
    path = keep(folder, POSE)
    assert (
        cache.open_cached(PUBLISHED[POSE]).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    )
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(ModelError, match="changed since it was fetched"):
        cache.open_cached(PUBLISHED[POSE])
    path.unlink()
    with pytest.raises(ModelError, match="gone from the cache"):
        cache.open_cached(PUBLISHED[POSE])


def test_the_published_hash_counts_whatever_the_manifest_says(folder: Path) -> None:
    keep(folder, "detector-rtmdet-nano")
    with pytest.raises(ModelError, match="changed since it was fetched"):
        cache.open_cached(PUBLISHED["detector-rtmdet-nano"])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 9999, "{}", b"\xff", '{"name": "x"}']
    + [
        json.dumps({**json.loads(good), **change})
        for good in [
            json.dumps(
                {"name": POSE, "file": f"{POSE}.onnx", "size": 1, "sha256": "", "url": "",
                 "digest": ""}
            )
        ]
        for change in (
            {"name": "other"}, {"file": "../../etc/passwd"}, {"file": "other.onnx"}, {"size": "1"},
            {"sha256": 1}, {"extra": 1}, {"file": None},
        )
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_the_same_as_none(folder: Path, text: str | bytes) -> None:
    folder.mkdir()
    (folder / f"{POSE}.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert not cache.is_fetched(POSE)
    with pytest.raises(ModelError, match="not on this machine yet"):
        cache.open_cached(PUBLISHED[POSE])


# --- names --------------------------------------------------------------------------------------


def test_downloads_change_no_default(folder: Path) -> None:
    before = [model_spec(task, None, DEMO) for task in ("detector", "pose")]
    keep(folder, POSE)
    keep(folder, DETECTOR)
    assert [model_spec(task, None, DEMO) for task in ("detector", "pose")] == before


def test_names_and_auto(folder: Path) -> None:
    for given in (None, Path("auto")):
        assert model_spec("pose", given, DEMO).path == model_spec("pose", None, DEMO).path
    with pytest.raises(ModelError, match=f"engines pull {POSE}"):
        model_spec("pose", Path(POSE), DEMO)
    path = keep(folder, POSE)
    for given in (Path(POSE), Path("auto")):
        spec = model_spec("pose", given, DEMO)
        assert (spec.name, spec.path) == (POSE, path)
    assert model_spec("pose", TINY["pose"], DEMO).path == TINY["pose"]
    with pytest.raises(ModelError, match="is a pose network; give it with --pose"):
        model_spec("detector", Path(POSE), DEMO)
    with pytest.raises(ModelError, match=f"did you mean {POSE}"):
        model_spec("pose", Path("pose-resnet18-coca"), DEMO)
    with pytest.raises(ModelError, match="no such file"):
        model_spec("pose", Path("missing.onnx"), DEMO)


def test_auto_takes_the_most_accurate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weak, strong = "detector-ssdlite-mobilenet", DETECTOR
    for name in (strong, weak):
        keep(folder, name)
    assert PUBLISHED[strong].accuracy > PUBLISHED[weak].accuracy
    assert choose.strongest("detector").name == strong
    monkeypatch.setitem(PUBLISHED, weak, replace(PUBLISHED[weak], accuracy=0.9))
    assert choose.strongest("detector").name == weak
    monkeypatch.setattr(cache, "find_spec", lambda name: None)  # without PyTorch
    assert choose.strongest("detector") is None


def bundle(monkeypatch: pytest.MonkeyPatch, accuracy: float) -> None:
    """The bundled pose network has this accuracy."""
    shipped = bundled.BY_FILE["pose.onnx"]
    monkeypatch.setitem(bundled.BY_FILE, "pose.onnx", replace(shipped, accuracy=accuracy))


def test_auto_knows_the_bundled_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle(monkeypatch, 0.5)
    assert choose.bundled_accuracy("pose") == 0.5
    assert choose.offer("pose") == f"stronger public weights: posestream-engines pull {POSE}"
    keep(folder, POSE)
    assert choose.strongest("pose").name == POSE
    assert choose.offer("pose") == f"stronger weights are on this machine: --pose {POSE}"
    bundle(monkeypatch, 0.7)
    assert choose.strongest("pose") is None and choose.offer("pose") == ""
    monkeypatch.setattr(choose, "find_default", lambda task: None)
    assert choose.bundled_accuracy("pose") == 0.0


def test_the_command_line_runs_fetched_weights(folder: Path, tmp_path: Path) -> None:
    keep(folder, POSE)
    report = tmp_path / "report.json"
    result = demo(
        "--end", "5", "--pose", POSE, "--detector", "auto", "--report", report,
        POSESTREAM_CACHE=str(folder),
    )  # fmt: skip
    assert result.code == 0, result.err
    assert f"{POSE} (" in result.err
    models = json.loads(report.read_text())["models"]
    assert (models["pose"]["name"], models["pose"]["file"]) == (POSE, f"{POSE}.onnx")
    assert models["detector"]["file"] != f"{DETECTOR}.onnx"


def test_the_command_line_says_what_to_fetch(folder: Path) -> None:
    result = demo("--detector", "detector-nanodet", POSESTREAM_CACHE=str(folder))
    assert result.code == 5 and len(result.errors) == 1
    assert "posestream-engines pull detector-nanodet" in result.errors[0]


def test_public_weights_from_the_cache_find_people(folder: Path, tmp_path: Path) -> None:
    path = SHARED / "weights" / "detector_rtmdet_nano_person.onnx"
    if not path.is_file():
        pytest.skip("no shared weights")
    kept = keep(folder, "detector-rtmdet-nano", path.read_bytes())
    spec = model_spec("detector", Path("detector-rtmdet-nano"), DEMO)
    assert (spec.name, spec.path, spec.input_wh) == ("detector-rtmdet-nano", kept, (320, 320))
    assert load(spec, "detector", precision="f32").spec is spec


# --- the command --------------------------------------------------------------------------------


def test_commands_take_names_of_fetched_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mine.onnx"
    describe = ["describe", POSE, "--output", str(output)]
    commands = ["check", POSE, "--batch", "1"], ["build", POSE, "--compute", "cpu"], describe
    for command in commands:
        assert main(command) == 5
        assert capsys.readouterr().err == (
            f"posestream-engines: {POSE} is not on this machine yet; "
            f"fetch it: posestream-engines pull {POSE}\n"
        )
    keep(folder, POSE)
    assert [main(command) for command in commands] == [0, 5, 0]
    printed = capsys.readouterr()
    assert f"{POSE}  pose  onnx  known" in printed.out and "on cpu; use --compute" in printed.err
    assert identify(output).input_wh == identify(TINY["pose"]).input_wh


def test_cache_shows_and_clears_only_what_pull_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "--clear"]) == 0 and "0 files" in capsys.readouterr().out
    assert not folder.exists()
    path = keep(folder, POSE)
    monkeypatch.setitem(PUBLISHED, "old", replace(PUBLISHED[POSE], name="old"))
    keep(folder, "old")
    monkeypatch.delitem(PUBLISHED, "old")  # of an earlier version of this program
    (folder / "detector-nanodet.part").write_bytes(b"half")
    (folder / "detector-nanodet.resume").write_text("[]")
    others = [folder / "mine.onnx", folder / "notes.json", folder / "other.part"]
    for other in others:
        other.write_text("{}")
    assert main(["cache"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{folder}\n") and "6 files" in printed
    assert f"{POSE}.onnx  {path.stat().st_size / 1e6:.1f} MB" in printed
    assert "mine" not in printed
    assert main(["cache", "--clear"]) == 0
    assert sorted(folder.iterdir()) == sorted([*others, folder / cache.LOCK])
    for other in others:
        other.unlink()
    keep(folder, POSE)
    assert main(["cache", "--clear"]) == 0
    assert list(folder.iterdir()) == [folder / cache.LOCK]


def test_a_link_to_nothing_in_the_cache_is_shown_and_cleared(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = keep(folder, POSE)
    link.unlink()
    link.symlink_to("nowhere")
    assert main(["cache"]) == 0
    printed = capsys.readouterr().out
    assert f"{POSE}.onnx  0.0 MB" in printed and "2 files" in printed
    assert main(["cache", "--clear"]) == 0 and not link.is_symlink()


def test_plans_of_tensorrt_are_shown_and_cleared_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = folder / plan_cache.FOLDER
    key = {"network": "a" * 64, "gpu": "Some GPU"}
    path = plan_cache.store(plans, key, b"plan", {})
    path.with_name(f"{path.name}.7.part").write_bytes(b"half")
    (plans / "mine.json").write_text("{}")
    assert main(["cache"]) == 0
    printed = capsys.readouterr().out
    assert "3 files" in printed and path.name in printed and "mine" not in printed
    assert main(["cache", "--clear"]) == 0
    assert [left.name for left in plans.iterdir()] == ["mine.json"]
    (plans / "mine.json").unlink()
    plan_cache.store(plans, key, b"plan", {})
    assert main(["cache", "--clear"]) == 0
    assert list(folder.iterdir()) == [folder / cache.LOCK]


def test_a_cache_that_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(folder, POSE)
    gone = folder / "ended.part"
    monkeypatch.setattr(plan_cache, "files", lambda _: [gone])
    monkeypatch.setattr(Path, "is_symlink", lambda path: path == gone)
    assert main(["cache"]) == 0 and "2 files" in capsys.readouterr().out  # gone since it was seen

    def refused(_: Path) -> list[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(plan_cache, "files", refused)
    for command in (["cache"], ["cache", "--clear"]):
        assert main(command) == 5
        said = capsys.readouterr().err
        assert said.startswith(f"posestream-engines: cache {folder}: cannot be")
        assert f"Permission denied; {cache.VARIABLE} names another place" in said
    monkeypatch.setenv(cache.VARIABLE, str(folder / ("x" * 300)))
    assert main(["cache", "--clear"]) in (0, 5)  # by the version of Python


def test_clearing_waits_for_nobody(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = keep(folder, POSE)
    with cache.locked(folder):
        assert main(["cache", "--clear"]) == 5
    assert "another engines pull" in capsys.readouterr().err and path.exists()


def test_list_needs_no_cache(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for entry in PUBLISHED.values():
        assert all(text in printed for text in (entry.name, entry.url, entry.digest, entry.licence))
    assert "pose  not fetched, at most 64.0 MB" in printed
    assert not folder.exists()


def test_a_reader_who_leaves_is_no_error(folder: Path) -> None:
    command = [sys.executable, "-m", "engines", "list"]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_files_as_published_are_known_by_their_content() -> None:
    known = {model.spec.name: model.spec for model in KNOWN}
    for entry in PUBLISHED.values():
        if cache.direct(entry):
            assert entry.digest == f"sha256:{known[entry.name].sha256}"
            assert known[entry.name].task == entry.task


def test_only_pull_can_open_a_connection() -> None:
    """Sources open what the user names; of the engines only the download speaks to anybody."""
    network = re.compile(r"(urllib\.request|http\.client|socket|ftplib|requests)(\.|$)")
    found = set()
    for path in (ROOT / "engines").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {path.name for name in names if network.match(name)}
    assert found == {"download.py"}
    callers = {
        path.name
        for path in [*(ROOT / "engines").glob("*.py"), *(ROOT / "realtime").rglob("*.py")]
        if re.search(r"engines\.download|import .*\bdownload\b", path.read_text(encoding="utf-8"))
    }
    assert callers == {"pull.py"}


# --- what others publish, converted -------------------------------------------------------------


def pytorchcv_name(name: str) -> str:
    """pytorchcv's name of a tensor of engines.torch_nets.PoseResNet."""
    block = r"backbone.\1.unit<\2>"
    for ours, theirs in (
        (r"backbone\.conv1\.", "backbone.0.conv.conv."),
        (r"backbone\.bn1\.", "backbone.0.conv.bn."),
        (r"backbone\.layer(\d)\.(\d)\.conv(\d)\.", block + r".body.conv\3.conv."),
        (r"backbone\.layer(\d)\.(\d)\.bn(\d)\.", block + r".body.conv\3.bn."),
        (r"backbone\.layer(\d)\.(\d)\.downsample\.0\.", block + ".identity_conv.conv."),
        (r"backbone\.layer(\d)\.(\d)\.downsample\.1\.", block + ".identity_conv.bn."),
        (r"deconv\.([036])\.", r"decoder.unit<\1>.conv."),
        (r"deconv\.([147])\.", r"decoder.unit<\1>.bn."),
        (r"final\.", "decoder.final_block."),
    ):  # fmt: skip
        renamed, count = re.subn("^" + ours, theirs, name)
        if count:
            before, number, after = (
                re.split(r"<(\d)>", renamed) if "<" in renamed else (renamed, "", "")
            )
            step = 3 if name.startswith("deconv") else 1
            return before + (str(int(number) // step + 1) if number else "") + after
    raise AssertionError(name)


@pytest.mark.timeout(300)  # seven seconds on a machine that does nothing else
def test_a_pytorchcv_checkpoint_becomes_onnx(folder: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from engines.registry import IMAGENET_MEAN, IMAGENET_STD
    from engines.torch_nets import PoseResNet

    torch.manual_seed(0)
    net = PoseResNet().eval()
    theirs = {pytorchcv_name(name): tensor for name, tensor in net.state_dict().items()}
    torch.save(theirs, tmp_path / "net.pth")
    folder.mkdir()
    made = folder / f"{POSE}.import.part"
    suffix = importers.convert(PUBLISHED[POSE], tmp_path / "net.pth", made)
    cache.store(PUBLISHED[POSE], made, suffix)
    spec = cache.open_cached(PUBLISHED[POSE])
    assert (spec.name, spec.input_wh, spec.grid, spec.sigma) == (POSE, (192, 256), "corner", 2.0)
    network = load(spec, "pose", engine="openvino", precision="f32")
    x = pictures(2, size_wh=(192, 256))
    images = (x[..., ::-1] - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    with torch.inference_mode():
        expected = net(torch.tensor(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.abs(network(x)[0] - expected).max() < 5e-3 * np.abs(expected).max()


def torchvision_entry(name: str) -> Published:
    pytest.importorskip("torchvision")
    pytest.importorskip("safetensors")
    return PUBLISHED[name]


def random_detector(name: str):
    """A torchvision detector with random weights that sees people everywhere."""
    import torch

    from engines.torch_detectors import BUILD

    torch.manual_seed(0)
    net = BUILD[name][0]().eval()
    with torch.no_grad():
        for parameter, values in net.named_parameters():
            if "cls_score.bias" in parameter or re.search(
                r"classification_head\.module_list\.\d\.1\.bias", parameter
            ):
                values.view(-1, 91)[:, 1] += 8
    return net


@pytest.mark.parametrize("name", ["detector-ssdlite-mobilenet", "detector-fasterrcnn-mobilenet"])
def test_torchvision_weights_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry = torchvision_entry(name)
    import torch

    from engines.torch_detectors import BUILD

    net = random_detector(name)
    empty = copy.deepcopy(net)  # building takes a second, so it is done once
    for values in empty.state_dict().values():
        values.zero_()
    monkeypatch.setitem(BUILD, name, (lambda: copy.deepcopy(empty), BUILD[name][1]))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    folder.mkdir()
    made = folder / f"{name}.import.part"
    suffix = importers.convert(entry, tmp_path / "net.pth", made)
    assert suffix == ".safetensors"
    cache.store(entry, made, suffix)
    network = load(cache.open_cached(entry), "detector", compute="cpu", threads=1)
    assert (network.engine, network.precision, network.device) == ("torch", "f32", "cpu")
    x = pictures(2, size_wh=network.spec.input_wh)
    x[1] //= 2
    before = x.copy()
    (dets,) = network(x)
    assert dets.shape[0] == 2 and dets.shape[2] == 5 and dets.dtype == np.float32
    assert (x == before).all()
    with torch.inference_mode():
        rgb = [torch.tensor(p[..., ::-1].transpose(2, 0, 1).copy()) / 255 for p in x]
        expected = net(rgb)
    for found, one in zip(dets, expected):
        people = one["labels"] == 1
        count = int(people.sum())
        order = one["scores"][people].argsort(descending=True)
        assert count > 0 and (found[count:] == 0).all()
        assert np.allclose(found[:count, 4], one["scores"][people][order], atol=1e-5)
        assert np.abs(found[:1, :4] - one["boxes"][people][order][:1].numpy()).max() < 0.1
    assert network(x[:0])[0].shape == (0, 0, 5)
    with pytest.raises(ModelError, match="f32 only"):
        load(cache.open_cached(entry), "detector", precision="bf16", compute="cpu")


def test_torchvision_weights_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    entry = torchvision_entry("detector-ssdlite-mobilenet")
    import torch

    from engines.torch_detectors import differences

    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    weights = net.state_dict()
    assert differences(net, weights) == ""
    assert differences(net, {n: t for n, t in weights.items() if "num" not in n}) == ""
    assert (
        differences(net, {**weights, "0.bias": torch.zeros(3)}) == "1 tensors differ, 0.bias first"
    )
    assert differences(net, {"0.bias": weights["0.bias"], "x": weights["0.bias"]}).startswith("6 ")
    torch.save(weights, tmp_path / "net.pth")
    with pytest.raises(ModelError, match="another network: .* tensors differ"):
        importers.convert(entry, tmp_path / "net.pth", tmp_path / "made")
    (tmp_path / "net.pth").write_bytes(b"PK\3\4 no checkpoint")
    with pytest.raises(ModelError) as caught:
        importers.convert(entry, tmp_path / "net.pth", tmp_path / "made")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


# --- NanoDet through a backend ------------------------------------------------------------------


def test_nanodet_runs_from_a_file(tmp_path: Path) -> None:
    """Its outputs are constants plus 0 times the picture; one person fills the middle cell."""
    rng, weights, outputs, nodes = np.random.default_rng(0), {}, [], []
    for stride in (8, 16, 32):
        for kind, columns in (("cls", 80), ("dis", 32)):
            values = rng.random((1, (64 // stride) ** 2, columns)).astype(np.float32) * 0.1
            if (kind, stride) == ("cls", 16):
                values[0, 5, 0] = 0.9
            name = f"{kind}_{stride}"
            weights[f"{name}_values"] = values
            nodes.append(helper.make_node("Add", ["nothing", f"{name}_values"], [name]))
            outputs.append((name, onnx.TensorProto.FLOAT, list(values.shape)))
    weights["zero"] = np.zeros((1, 1, 1), np.float32)
    before = [
        helper.make_node("ReduceMax", ["images"], ["top"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMax", ["top"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
    ]
    inputs = [("images", onnx.TensorProto.FLOAT, [1, 3, 64, 64])]
    description = {"name": "n", "task": "detector", "format": "nanodet", "input_wh": [64, 64]}
    graph = graph_of([*before, *nodes], inputs, outputs, weights)
    path = write(tmp_path / "n.onnx", graph, {**description, "batch": 1})
    detector = Detector(load(identify(path), "detector", precision="f32"))
    frames = [Frame(n, 0.0, np.zeros((64, 64, 3), np.uint8)) for n in range(2)]
    for found in detector(frames):
        assert len(found) == 1 and abs(found.scores[0] - 0.9) < 1e-6
        logits = weights["dis_16_values"][0, 5].astype(np.float64).reshape(4, 8)
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        left, top, right, bottom = (chances * range(8)).sum(1) * 16
        box = [23.5 - left, 23.5 - top, 23.5 + right, 23.5 + bottom]
        assert np.abs(found.boxes_xyxy[0] - np.clip(box, 0, 63)).max() < 1e-3
    graph = graph_of([*before, *nodes[:-1]], inputs, outputs[:-1], weights)
    path = write(tmp_path / "n.onnx", graph, {**description, "batch": 1})
    with pytest.raises(ModelError, match="not those of a nanodet net"):
        load(identify(path), "detector", precision="f32")


def test_help_names_the_commands() -> None:
    result = run("--help")
    assert result.code == 0 and "posestream-engines pull NAME" in result.out
    assert pull.known(POSE) is PUBLISHED[POSE]
