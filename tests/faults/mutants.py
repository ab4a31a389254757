"""Damaged and hostile input, made from a seed: the same seed gives the same bytes."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import random
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE.parent)]

TINY = ROOT / "tests" / "data"
# fmt: off
SPECIAL = [None, True, "", "a\0b", "\ud800", "../x", "/etc/passwd", -1, 0, 2**63,
           10**400, 1e308, float("nan"), float("inf"), [], {}, [[]], "person", "000.png",
           17 * [0], "1"]
# fmt: on


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, dropped, doubled, cleared or inserted."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(max(1, len(out)))
        kind = rng.choice(("bits", "bytes", "ends", "cut", "zero", "insert", "splice"))
        if kind == "cut":
            del out[place:]
        elif kind == "zero":
            out[place : place + 512] = bytes(len(out[place : place + 512]))
        elif kind == "insert":
            out[place:place] = rng.randbytes(64)
        elif kind == "splice":
            other = rng.randrange(max(1, len(out)))
            out[place:place] = out[other : other + rng.randrange(4096)]
        else:
            _change(out, kind, rng)
    return bytes(out)


def _change(out: bytearray, kind: str, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 16, 64))):
        if not out:
            return
        if kind == "ends":
            size = min(len(out), 400)
            place = rng.choice((rng.randrange(size), len(out) - 1 - rng.randrange(size)))
        else:
            place = rng.randrange(len(out))
        out[place] ^= 1 << rng.randrange(8) if kind == "bits" else rng.randrange(1, 256)


def seeds(folder: Path) -> list[Path]:
    """Healthy small videos of many kinds, made once."""
    import media

    kinds: dict[str, dict[str, Any]] = {
        "a.mp4": {"audio": "first"},
        "fast.mp4": {"container_options": {"movflags": "faststart"}, "options": {"g": "10"}},
        "vfr.mp4": {"stamps": [0, 33, 166, 199, 400, 433, 466, 900, 933, 1000] * 1, "frames": 10},
        "ten.mp4": {"pix_fmt": "yuv420p10le", "frames": 10},
        "a.mkv": {"stamps": [40 * i for i in range(30)]},
        "a.ts": {"audio": "after"},
        "a.mov": {"codec": "qtrle", "pix_fmt": "argb", "frames": 8},
        "a.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "frames": 20},
        "a.gif": {"codec": "gif", "pix_fmt": "rgb8", "rate": 25, "frames": 8},
        "a.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuva420p", "frames": 6},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in kinds.items():
        if not (folder / name).exists():
            part = folder / f"part{os.getpid()}{name}"
            media.video(part, **options).replace(folder / name)
    return [folder / name for name in kinds]


def video(folder: Path, rng: random.Random) -> Path:
    """A damaged video; one in ten under the name of another format."""
    files = seeds(folder.parent / "seeds")
    original = rng.choice(files)
    suffix = rng.choice(files).suffix if rng.random() < 0.1 else original.suffix
    path = folder / f"mutant{suffix}"
    path.write_bytes(damaged(original.read_bytes(), rng))
    return path


# command lines and configurations

FLAGS = (
    "--input --device --start --end --stride --seed --sequence --live --camera-size --camera-fps "
    "--no-wait --max-reconnects --strict --output --json --data --angles --report --status-file "
    "--overwrite --crf --record-required --min-free --show --headless --mirror --min-joint-score "
    "--detector --pose --engine --precision --compute --detect-every --bridge --decode "
    "--detector-score --min-score --batch --quiet -v -vv --debug --nonsense -x"
).split()
WORDS = ("", "0", "-1", "1", "5", "0.5", "nan", "inf", "1e309", "9" * 400, "demo", "x.mp4", "-",
         "640x480", "0x0", "3s", "auto", "cpu", "cuda:0", "udp", "f32", "openvino", "missing.mp4",
         "../../x.jsonl", "/", ".", "a\nb", "测試.mp4", "\udcff", "rtsp://u:geheim@127.0.0.1:9/x",
         "file:///etc/passwd", "concat:a|b", "csv-wide:x.csv", "coco:", "*", "%s%n", "~",
         "http://[", "tcp://127.0.0.1", "'; ls", "{}", "a" * 5000)  # fmt: skip


def arguments(folder: Path, rng: random.Random) -> list[str]:
    """A command line that asks for anything, on inputs that do not exist; often with a
    configuration of any content."""
    words = []
    for _ in range(rng.randrange(6)):
        words.append(rng.choice(FLAGS))
        if rng.random() < 0.7:
            words.append(rng.choice(WORDS))
    if rng.random() < 0.6:
        (folder / "c.toml").write_bytes(config(rng))
        words += ["--config", "c.toml"]
    if rng.random() < 0.6:
        return [*words, "--print-config"]
    return [*words, "--headless", "--input", rng.choice(("no.mp4", "no/*.png", "tcp://127.0.0.1"))]


def config(rng: random.Random) -> bytes:
    """A configuration file: proper keys with any value, or damaged, or not TOML at all."""
    lines = []
    for _ in range(rng.randrange(6)):
        key = rng.choice(FLAGS).lstrip("-") or "x"
        value = rng.choice(
            ["true", "1", "-1", "0.5", "nan", "inf", "1e309", '"x"', '""', "[]", "[1, 2]", "{}",
             '["a.mp4"]', "1979-05-27", '"""a\nb"""', "0x10", "9" * 400, "'\\'"]
        )  # fmt: skip
        lines.append(f"{key} = {value}")
    text = "\n".join(lines).encode()
    special = (
        b"\xef\xbb\xbf" + text, b"a = " + b"[" * 5000, b"[[x]]\n" + text, text + b"\n" + text,
        b"x.y.z = 1\n", rng.randbytes(200), b"#" * 100_000, b"a: &a [1]\nb: *a\n",
        b"a = " + b"{a=" * 3000, text.replace(b"\n", b"\r"), b'input = "\\ud800"\n',
    )  # fmt: skip
    return rng.choice((text, text, damaged(text or b"a", rng), rng.choice(special)))


# annotations


def labels(folder: Path, rng: random.Random) -> Path:
    """A COCO file with some values replaced, removed or doubled, or with damaged bytes."""
    import coco_files

    values: Any = copy.deepcopy(coco_files.content(3))
    file = coco_files.write(folder, values)
    if rng.random() < 0.25:
        file.write_bytes(damaged(file.read_bytes(), rng))
        return file
    for _ in range(rng.randrange(1, 4)):
        _spoil(values, rng)
    text = json.dumps(values)
    if rng.random() < 0.05:
        text = "[" * rng.choice((500, 100_000)) + text
    file.write_text(text)
    return file


def _spoil(values: Any, rng: random.Random) -> None:
    """Walk to some place of the structure and change what is there."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(values[key], (dict, list)) and rng.random() < 0.8:
            values = values[key]
            continue
        kind = rng.randrange(4)
        if kind == 0:
            del values[key]
        elif kind == 1 and isinstance(values, dict):
            values[f"{key}s"] = values.pop(key)
        elif kind == 2 and isinstance(values, list):
            values.append(copy.deepcopy(values[key]))
        else:
            values[key] = rng.choice(SPECIAL)
        return


# weights


class Canary:
    """Makes the file "sang" in the current folder when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, ("sang",)


def canaries(folder: Path) -> list[Path]:
    """Pickles that run code, in every wrapping that is loaded somewhere."""
    raw = pickle.dumps({"state_dict": {"x": Canary()}}, 2)
    made = {"bare.pt": raw, "old.pkl": pickle.dumps(Canary(), 0), "named.onnx": raw,
            "named.safetensors": raw}  # fmt: skip
    for name in ("archive/data.pkl", "data.pkl", "a/b/data.pkl"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(name, raw)
            archive.writestr(name.replace("data.pkl", "version"), "3\n")
        made[f"zip{len(made)}.pth"] = out.getvalue()
    # the legacy form of torch.save: magic number, protocol, system, object, keys
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    made["legacy.pth"] = b"".join(pickle.dumps(part, 2) for part in head) + raw
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in made]


def safetensors(rng: random.Random) -> bytes:
    """A small file of a header and numbers, with a wrong header more often than not."""
    header: Any = {
        "__metadata__": {"posestream": "{}"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    }
    if rng.random() < 0.8:
        _spoil(header, rng)
    text = json.dumps(header).encode()
    size = rng.choice((len(text), len(text), 0, 2**63, len(text) - 1, 2**31))
    return struct.pack("<Q", size) + text + bytes(16)


def external(folder: Path, rng: random.Random) -> Path:
    """An ONNX file whose weights are in another file, inside or outside of its folder."""
    import onnx

    (folder / "w.bin").write_bytes(bytes(1 << 20))
    where = rng.choice(("w.bin", "../w.bin", "/etc/passwd", "../../../etc/passwd", ""))
    model = onnx.load(TINY / "tiny_pose.onnx")
    for tensor in rng.sample(list(model.graph.initializer), 1):
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        given = {"location": where, "offset": rng.choice(("0", "-4", "9" * 20)),
                 "length": rng.choice(("64", str(1 << 50), "-1"))}  # fmt: skip
        for key, value in given.items():
            if key == "location" or rng.random() < 0.5:
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
    path = folder / "external.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def weights(folder: Path, rng: random.Random) -> Path:
    """A model file that is damaged, hostile, or one of another kind."""
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(canaries(folder))
    if kind < 0.2:
        return external(folder, rng)
    if kind < 0.4:
        path = folder / "m.safetensors"
        data = safetensors(rng)
        path.write_bytes(damaged(data, rng) if rng.random() < 0.3 else data)
        return path
    path = folder / rng.choice(("m.onnx", "m.onnx", "m.pth", "m.bin"))
    data = (TINY / rng.choice(("tiny_pose.onnx", "tiny_detector.onnx"))).read_bytes()
    if kind < 0.7:  # one flipped bit
        out = bytearray(data)
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        path.write_bytes(out)
    else:
        path.write_bytes(damaged(data, rng))
    return path
