"""The command line and its configuration file: text in, Settings out."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from engines.load import BACKENDS, PRECISIONS
from realtime.bench.options import check_bench
from realtime.choice import EVERYBODY, parse_choice
from realtime.command import Parser
from realtime.controls import OVERLAYS, help_text
from realtime.errors import UsageError
from realtime.formats.target import parse_target
from realtime.hints import camera_number, near
from realtime.serve.address import parse_address
from realtime.sinks.outfile import check_not_input
from realtime.sources.base import Span
from realtime.toml import read_table

EPILOG = f"""examples:
  python run_camera.py --device 0                                  live window, q quits
  python run_camera.py --input walk.mp4 --output walk_poses.mp4    annotated video
  python run_camera.py --input rtsp://host/cam --json poses.jsonl --headless
  python run_camera.py --input frames/ --json poses.jsonl          a folder of images
  python run_camera.py --input demo --output demo.mp4              built-in scene
  python run_camera.py --bench                                     how fast is it here

keys in the window:
{help_text()}

networks: the bundled ones unless told; python -m engines list shows the NAMEs of public weights,
python -m engines pull NAME fetches them, auto takes the most accurate that is there

exit codes: 0 done or stopped, 130 Ctrl-C, 2 usage, 3 input, 4 output, 5 model or device,
6 source lost, 7 a stage failed"""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run as asked for; the names are those of the long flags."""

    device: tuple[int, ...]
    input: tuple[str, ...]
    start: str
    end: str
    stride: int
    sequence: bool
    live: bool
    seed: int
    camera_size: tuple[int, int] | None
    camera_fps: float | None
    no_wait: bool
    max_reconnects: int | None
    strict: bool
    output: Path | None
    json: str | None
    data: tuple[str, ...]
    angles: bool
    report: Path | None
    status_file: Path | None
    overwrite: bool
    crf: int | None
    record_required: bool
    min_free: int
    show: bool
    headless: bool
    serve: str | None
    mirror: bool
    overlay: str
    blur_faces: bool
    explain: Path | None
    explain_frame: int | None
    min_joint_score: float
    detector: Path | None
    pose: Path | None
    compare: Path | None
    engine: str
    precision: str
    compute: str
    threads: int | None
    detect_every: int | None
    decode: str
    detector_score: float
    min_score: float
    batch: int
    smooth: str
    fix_swaps: bool
    select: str
    list_cameras: bool
    bench: bool
    streams: int | None
    version: bool
    print_config: bool
    quiet: bool
    verbose: int
    log_file: Path | None
    debug: bool

    @property
    def span(self) -> Span:
        """The part of the source to read."""
        return Span(_moment(self.start, "start") or 0, _moment(self.end, "end"), self.stride)


def parse(argv: Sequence[str]) -> Settings:
    """Settings from the command line and the --config file; the command line wins.

    Raises UsageError; --help prints and raises SystemExit(0).
    """
    parser = build_parser()
    parsed, unknown = parser.parse_known_args(list(argv))
    if unknown:
        raise UsageError(_unknown(unknown[0], parser))
    values = vars(parsed)
    config = read_config(values["config"], parser) if values["config"] else {}
    return _settings(parser, config, values)


def settings_of(**given: Any) -> Settings:
    """Settings from Python values by the names of Settings; None stands for the default. Paths may
    be text, sizes are text ("1280x720"). Raises UsageError."""
    parser = build_parser()
    options = _options(parser)
    values = {}
    for name, value in given.items():
        if name not in options:
            found = near(name, options)
            raise UsageError(
                f"unknown option {name}" + (f"; did you mean {found}?" if found else "")
            )
        plain = _plain(value)
        try:
            values[name] = None if value is None else _typed(options[name], plain)
        except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
            raise UsageError(f"{name} = {plain!r}: {str(error) or 'wrong type'}") from None
    return _settings(parser, {}, values)


def _plain(value: Any) -> Any:
    """As a configuration file would say it: paths as text, tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _settings(
    parser: argparse.ArgumentParser, config: dict[str, Any], values: dict[str, Any]
) -> Settings:
    """What was given, over what the configuration says, over the defaults."""
    options = _options(parser)
    defaults = {key: False if _is_switch(action) else None for key, action in options.items()}
    given = {key: value for key, value in values.items() if value is not None}
    merged = {**defaults, **_DEFAULTS, **config, **given}
    settings = Settings(**{f.name: _frozen(merged[f.name]) for f in fields(Settings)})
    _validate(settings)
    return settings


_DEFAULTS: dict[str, Any] = {
    "device": (), "input": (), "start": "", "end": "", "stride": 1, "seed": 0, "json": None,
    "data": (), "smooth": "display",
    "min_joint_score": 0.3, "engine": "auto", "precision": "auto", "compute": "auto",
    "decode": "udp", "detector_score": 0.3, "min_score": 0.2, "batch": 8,
    "verbose": 0, "min_free": 200, "overlay": "skeleton",
    "select": EVERYBODY,
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Every option has the default None, so that what was given can be told apart."""
    parser = Parser(
        prog="run_camera.py",
        description="People's poses from a camera, a video, a stream or a folder of images.",
        epilog=EPILOG,
    )
    groups = {
        "input": _add_input,
        "output": _add_output,
        "picture": _add_picture,
        "networks": add_networks,
        "people": _add_people,
        "run": _add_run,
    }
    for title, add_options in groups.items():
        add_options(parser.add_argument_group(title).add_argument)
    return parser


def _add_input(add: Any) -> None:
    add("--device", type=_camera, action="append", metavar="N", help="camera number (default 0)")
    add("--input", action="append", metavar="X", help="video, URL, folder, glob, image or 'demo'")
    add("--start", metavar="T", help="first frame, as a frame number or as seconds with s (12.5s)")
    add("--end", metavar="T", help="stop before this frame or time")
    add("--stride", type=int, metavar="N", help="use every Nth frame (default 1)")
    add("--seed", type=int, metavar="N", help="seed of the demo scene (default 0)")
    _switch(add, "--sequence", "treat a folder of images as the frames of a video")
    _switch(add, "--live", "pace the demo scene in real time, as a camera would")
    add("--camera-size", type=_size, metavar="WxH", help="camera picture size (default 1280x720)")
    add("--camera-fps", type=float, metavar="FPS", help="camera frame rate (default 30)")
    _switch(add, "--no-wait", "fail when a stream is not there instead of waiting for it")
    add("--max-reconnects", type=int, metavar="N", help="give a stream up after N reconnects")
    _switch(add, "--strict", "a damaged or truncated input is an error (exit 3)")
    _switch(add, "--list-cameras", "list the cameras and leave")


def _add_output(add: Any) -> None:
    add("--output", type=Path, metavar="FILE", help="annotated video (.mp4)")
    add("--json", metavar="FILE", help="poses as JSON Lines; - for standard output")
    add(
        "--data",
        action="append",
        metavar="[FORMAT:]FILE",
        help="poses as .jsonl, .json, .csv, .npz, .mat, .trc or as csv-wide:FILE, coco:FILE,"
        " openpose:FOLDER; may be given several times",
    )
    add("--report", type=Path, metavar="FILE", help="JSON report of the run")
    add("--status-file", type=Path, metavar="FILE", help="JSON rewritten each second: how it goes")
    _switch(add, "--overwrite", "replace existing outputs")
    add("--crf", type=int, metavar="N", help="video quality, 0 best to 51 smallest")
    _switch(add, "--record-required", "end the run (exit 4) when an output cannot be written")
    add(
        "--min-free",
        type=int,
        metavar="MIB",
        help="stop recording when the disk has less than this free (default 200, 0 never)",
    )


def _add_picture(add: Any) -> None:
    _switch(add, "--show", "open a window also when there are outputs")
    _switch(add, "--headless", "never open a window")
    add(
        "--serve",
        nargs="?",
        const="127.0.0.1:8000",
        type=_served,
        metavar="[HOST:]PORT",
        help="a page for browsers, by default on this machine at port 8000",
    )
    _switch(add, "--mirror", "flip the picture like a mirror; the data stays as it is")
    add("--overlay", choices=OVERLAYS, help="what is drawn (default skeleton); black: no picture")
    _switch(add, "--blur-faces", "make faces unrecognisable; detects in every frame")
    add(
        "--explain", type=Path, metavar="FOLDER", help="five pictures of how one frame is worked on"
    )
    add("--explain-frame", type=int, metavar="N", help="that frame (default the first with people)")
    add("--min-joint-score", type=float, metavar="S", help="hide joints below S (default 0.3)")
    _switch(add, "--angles", "angles of knees, hips, elbows and shoulders, in picture and data")


def add_networks(add: Any) -> None:
    """Options of the networks; add is that of a parser or of a group of it."""
    add("--detector", type=Path, metavar="FILE", help="person detector: .onnx, NAME or auto")
    add("--pose", type=Path, metavar="FILE", help="pose network: .onnx, .safetensors, NAME or auto")
    add(
        "--compare",
        type=Path,
        metavar="FILE",
        help="another detector or pose network (.onnx, .safetensors or NAME): the picture shows"
        " its people at the right, beside those of --detector and --pose, which the data holds",
    )
    add("--engine", choices=("auto", *BACKENDS), help="what runs the networks")
    add("--precision", choices=PRECISIONS, help="arithmetic (default auto)")
    add("--compute", metavar="WHERE", help="auto, cpu, cuda, cuda:N or gpu")
    add("--threads", type=int, metavar="N", help="CPU threads of each network (default all cores)")
    add(
        "--detect-every",
        type=int,
        metavar="N",
        help="frames from one detection to the next "
        "(default: 3 in files, fewer where people come, go or are in doubt; 1 live)",
    )
    add("--decode", choices=("argmax", "quarter", "dark", "udp"), help="peak finder (default udp)")
    add("--detector-score", type=float, metavar="S", help="least score of a box (default 0.3)")
    add("--min-score", type=float, metavar="S", help="least score of a person (default 0.2)")
    add("--batch", type=int, metavar="N", help="frames in a batch, for files (default 8)")


def _add_people(add: Any) -> None:
    add(
        "--smooth",
        choices=("display", "data", "all", "off"),
        help="steady joints in the picture (default), in the data, in both or nowhere",
    )
    add("--select", type=_choice, metavar="WHO", help="one person: largest, center or an id")
    _switch(add, "--fix-swaps", "undo swaps of left and right that last some frames")


def _add_run(add: Any) -> None:
    add("--config", type=Path, metavar="FILE.toml", help="options by their long names")
    _switch(add, "--bench", "measure how fast this machine is, with --end how long each time")
    add("--streams", type=int, metavar="N", help="with --bench: N live cameras at once")
    _switch(add, "--print-config", "print the options in force as TOML and leave")
    _switch(add, "--version", "versions of everything and hashes of the weights")
    _switch(add, "--quiet", "no progress, no summary")
    add("-v", "--verbose", action="count", help="more messages; twice for all")
    add("--log-file", type=Path, metavar="FILE", help="messages also into this file")
    _switch(add, "--debug", "tracebacks with errors")


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    """What to say about a word of the command line that means nothing."""
    if not word.startswith("-"):
        return f"{word!r} stands alone; inputs are given with --input {word}"
    flags = [flag for action in parser._actions for flag in action.option_strings]
    found = near(word.partition("=")[0].replace("_", "-"), flags)
    return f"unknown option {word}; " + (f"did you mean {found}?" if found else "see --help")


def _switch(add: Any, name: str, text: str) -> None:
    add(name, action="store_true", default=None, help=text)


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options by their name in Settings."""
    return {a.dest: a for a in parser._actions if a.dest not in ("help", "config")}


def _is_switch(action: argparse.Action) -> bool:
    return action.nargs == 0 and action.dest != "verbose"


def read_config(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Options of a TOML file whose keys are long flag names, as Settings has them.

    Raises UsageError naming the key, the value and what is allowed.
    """
    table = read_table(path)
    options = _options(parser)
    result = {}
    for key, value in table.items():
        action = options.get(key.replace("-", "_"))
        if action is None or "_" in key:
            raise UsageError(f"{path}: unknown key {key!r}; keys are the long flag names")
        try:
            result[action.dest] = _typed(action, value)
        except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
            reason = str(error) or "wrong type"
            raise UsageError(f"{path}: {key} = {value!r}: {reason}") from None
    return result


def _typed(action: argparse.Action, value: Any) -> Any:
    """A TOML value as the option's type; TypeError says what was expected."""
    if _is_switch(action):
        return _is(value, bool, "true or false")
    if action.dest in ("device", "input", "data"):
        wanted = int if action.dest == "device" else str
        items = value if isinstance(value, list) else [value]
        return tuple(_is(item, wanted, f"{wanted.__name__} or a list of it") for item in items)
    if action.choices:
        if value not in action.choices:
            raise TypeError(f"expected one of {', '.join(action.choices)}")
        return value
    if action.dest == "verbose" or action.type is int:
        return _is(value, int, "a whole number")
    if action.type is float:
        return float(_is(value, (int, float), "a number"))
    if action.dest == "serve" and isinstance(value, bool):
        return action.const if value else None
    numbered = action.dest in ("start", "end", "serve", "select")
    text = str(value) if numbered and type(value) is int else value
    text = _is(text, str, "a string")
    return action.type(text) if callable(action.type) else text


def _is(value: Any, kind: Any, wanted: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"expected {wanted}")
    return value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _camera(text: str) -> int:
    number = camera_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a camera number (0, 1, ...)")
    return number


def _choice(text: str) -> str:
    return str(parse_choice(text))


def _served(text: str) -> str:
    return str(parse_address(text))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 1280x720")
    return int(width), int(height)


def _moment(text: str, name: str) -> int | float | None:
    """A frame number (int) or seconds (float, written with s); None when empty."""
    if not text:
        return None
    try:
        moment: int | float = float(text[:-1]) if text.endswith("s") else int(text)
    except ValueError:
        moment = -1
    if not moment >= 0 or math.isinf(moment):
        raise UsageError(f"--{name} {text}: expected a frame number (120) or seconds (4.5s)")
    return moment


def _validate(s: Settings) -> None:
    """Ranges and combinations. Raises UsageError."""
    for name in ("detector_score", "min_score", "min_joint_score"):
        value = getattr(s, name)
        if not 0 <= value <= 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected 0 to 1")
    for name in ("stride", "detect_every", "batch"):
        count = getattr(s, name)
        if count is not None and not 1 <= count <= 1000:
            raise UsageError(f"--{name.replace('_', '-')} {count}: expected 1 to 1000")
    if s.crf is not None and not 0 <= s.crf <= 51:
        raise UsageError(f"--crf {s.crf}: expected 0 to 51")
    if s.camera_fps is not None and not 0 < s.camera_fps <= 1000:
        raise UsageError(f"--camera-fps {s.camera_fps}: expected more than 0, at most 1000")
    if s.max_reconnects is not None and s.max_reconnects < 0:
        raise UsageError(f"--max-reconnects {s.max_reconnects}: expected 0 or more")
    if not 0 <= s.min_free <= 2**30:
        raise UsageError(f"--min-free {s.min_free}: expected 0 or more MiB")
    if s.seed < 0 or any(number < 0 for number in s.device):
        raise UsageError("--seed and --device take numbers from 0")
    if len(s.device) + len(s.input) > 1:
        _validate_several(s)
    if s.show and s.headless:
        raise UsageError("--show and --headless exclude each other")
    for path in (s.log_file, s.status_file):
        if path is not None:
            check_not_input(path, [Path(p) for p in (*s.input, s.detector, s.pose, s.compare) if p])
    if s.output is not None and s.output.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        raise UsageError(f"--output {s.output}: expected a name ending in .mp4")
    _ = s.span
    check_bench(s, _DEFAULTS)
    if s.explain and (s.output or s.json or s.data or s.report):
        raise UsageError("--explain works on one frame and leaves; give it without other outputs")
    if s.compare and (s.explain or str(s.compare) == "auto" or s.select.isdigit()):
        raise UsageError("--compare takes one network, and goes without --explain and --select ID")
    if s.explain_frame is not None and (s.explain_frame < 0 or not s.explain):
        raise UsageError("--explain-frame takes a number from 0, and goes with --explain FOLDER")
    own = (s.output, s.json, s.report, s.log_file, s.status_file)
    outputs = [str(p) for p in own if p and str(p) != "-"]
    outputs += [str(parse_target(text).path) for text in s.data]
    if len({_absolute(p) for p in outputs}) < len(outputs):
        raise UsageError("two outputs have the same name: " + ", ".join(sorted(outputs)))


def _validate_several(s: Settings) -> None:
    """What several sources at once cannot have. Raises UsageError."""
    if len(set(s.device)) < len(s.device):
        raise UsageError("--device: the same camera twice")
    if s.explain:
        raise UsageError("--explain takes one source; give one --device or --input")
    if s.json == "-":
        raise UsageError("--json - takes one source; a file gets a number for each of several")


def _absolute(path: str) -> str:
    try:
        return str(Path(path).parent.resolve() / Path(path).name)
    except OSError:  # the current folder is gone
        return path


def as_toml(settings: Settings) -> str:
    """The options in force, readable by --config; those not set are left out."""
    lines = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is None or value in ((), "") or field.name in ("print_config", "version"):
            continue
        key = field.name.replace("_", "-")
        if field.name == "camera_size":
            value = f"{value[0]}x{value[1]}"
        lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text) + '"'
