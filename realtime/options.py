"""The flags of the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engines.load import BACKENDS, PRECISIONS
from realtime.choice import parse_choice
from realtime.command import Parser, program
from realtime.controls import OVERLAYS, help_text
from realtime.defaults import BRIDGE, DETECTOR_SCORE, MIN_JOINT_SCORE, MIN_SCORE
from realtime.formats.target import FORMATS, OFFERED
from realtime.hints import camera_number, flag_meant
from realtime.serve.address import parse_address

EXAMPLES = (
    ("--device 0", "live window, q quits"),
    ("--input walk.mp4 --output walk_poses.mp4", "annotated video"),
    ("--input rtsp://host/cam --json poses.jsonl --headless", ""),
    ("--input frames/ --json poses.jsonl", "a folder of images"),
    ("--input demo --output demo.mp4", "built-in scene"),
    ("--bench", "how fast is it here"),
)
EPILOG = f"""keys in the window:
{help_text()}

afterwards and beside it (or python -m what is in brackets), each with its own --help:
  posestream-report (realtime.report)      a page of a run: who, where, angles, speed
  posestream-clean (realtime.clean)        steady joints afterwards, another format
  posestream-batch (realtime.batch)        thousands of videos, on one machine or many
  posestream-train (train)                 networks of your own
  posestream-engines (engines)             public networks, what runs them, int8
  from realtime import stream, run, load   the same from Python, with these options

networks: the bundled ones unless told; posestream-engines list shows the NAMEs of public weights,
posestream-engines pull NAME fetches them, auto takes the most accurate that is there

exit codes: 0 done or stopped, 130 Ctrl-C, 2 usage, 3 input, 4 output, 5 model or device,
6 source lost, 7 a stage failed"""


def build_parser() -> argparse.ArgumentParser:
    """Every option has the default None, so that what was given can be told apart."""
    name = program()
    parser = Parser(
        prog=name,
        description="People's poses from a camera, a video, a stream or a folder of images.",
        epilog=f"{_examples(name)}\n\n{EPILOG}",
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


def _examples(name: str) -> str:
    """To be copied: commands of the program that was started by this name."""
    command = f"python {name}" if name.endswith(".py") else name
    lines = (f"  {command} {arguments:<42} {what}".rstrip() for arguments, what in EXAMPLES)
    return "\n".join(["examples:", *lines])


def _add_input(add: Any) -> None:
    add("--device", type=_camera, action="append", metavar="N", help="camera number (default 0)")
    add(
        "--input",
        action="append",
        metavar="X",
        help="video, URL, folder, glob, image, 'demo', or - for a video on standard input",
    )
    add("--start", metavar="T", help="first frame, as a frame number or as seconds with s (12.5s)")
    add("--end", metavar="T", help="stop before this frame or time")
    add("--stride", type=int, metavar="N", help="use every Nth frame (default 1)")
    add("--seed", type=int, metavar="N", help="seed of the demo scene (default 0)")
    _switch(add, "--sequence", "treat a folder of images as the frames of a video")
    _switch(add, "--live", "pace the demo scene in real time, as a camera would")
    add("--camera-size", type=_size, metavar="WxH", help="camera picture size (default 1280x720)")
    add("--camera-fps", type=float, metavar="FPS", help="camera frame rate (default 30)")
    _switch(add, "--no-wait", "fail when a stream is not there instead of waiting for it")
    add(
        "--max-reconnects",
        type=int,
        metavar="N",
        help="give a stream or camera up after N tries in a row",
    )
    _switch(add, "--strict", "a damaged or truncated input is an error (exit 3)")
    _switch(add, "--list-cameras", "list the cameras and leave")


def _add_output(add: Any) -> None:
    add("--output", type=_path, metavar="FILE", help="annotated video (.mp4)")
    add("--json", type=_named, metavar="FILE", help="poses as JSON Lines; - for standard output")
    add(
        "--data",
        action="append",
        metavar="[FORMAT:]FILE",
        help=f"{OFFERED}; may be given several times",
    )
    add("--format", choices=FORMATS, help="of each --data FILE without one, whatever its suffix")
    add(
        "--screenshot",
        type=_path,
        metavar="FILE.png",
        help="the annotated picture of the first frame with somebody in it, else of the last one",
    )
    add(
        "--pictures",
        type=_path,
        metavar="FOLDER",
        help="annotated pictures as JPEG files, one for each image or frame",
    )
    add("--report", type=_path, metavar="FILE", help="JSON report of the run")
    add("--status-file", type=_path, metavar="FILE", help="JSON rewritten each second: how it goes")
    _switch(
        add,
        "--overwrite",
        "replace existing outputs; but for --screenshot and --report they wait as"
        " NAME.bak for the run's end",
    )
    add("--crf", type=int, metavar="N", help="video quality, 0 best to 51 smallest")
    _switch(add, "--record-required", "end the run (exit 4) when an output cannot be written")
    add(
        "--segment",
        type=float,
        metavar="S",
        help="a new recording file every S seconds: NAME.mp4, NAME_2.mp4, ... (3600: each hour)",
    )
    add(
        "--min-free",
        type=int,
        metavar="MIB",
        help="stop recording when the disk has less than this free (default 200, 0 never)",
    )


def _add_picture(add: Any) -> None:
    _switch(add, "--show", "open a window also when there are outputs")
    _switch(add, "--fullscreen", "open a window, which fills the screen")
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
        "--explain",
        type=_path,
        metavar="FOLDER",
        help="five pictures of how one frame is worked on",
    )
    add(
        "--explain-frame",
        type=int,
        metavar="N",
        help="the source's frame N, from 0, wherever --start is (default the first with people)",
    )
    add(
        "--min-joint-score",
        type=float,
        metavar="S",
        help=f"hide joints below S (default {MIN_JOINT_SCORE:g})",
    )
    _switch(add, "--angles", "angles of knees, hips, elbows and shoulders, in picture and data")


def add_networks(add: Any) -> None:
    """Options of the networks; add is that of a parser or of a group of it."""
    add("--detector", type=_path, metavar="FILE", help="person detector: .onnx, NAME or auto")
    add(
        "--pose", type=_path, metavar="FILE", help="pose network: .onnx, .safetensors, NAME or auto"
    )
    add(
        "--compare",
        type=_path,
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
        "(default: 3 in files, 6 while people keep still, 1 where they come, go or are in doubt; "
        "live 1, 3 where frames come faster than they are worked on)",
    )
    add(
        "--bridge",
        type=int,
        metavar="N",
        help="files: whom the detector misses for up to N frames keeps a box where the pose network"
        f" sees somebody in it; 0: never (default {BRIDGE})",
    )
    add("--decode", choices=("argmax", "quarter", "dark", "udp"), help="peak finder (default udp)")
    add(
        "--detector-score",
        type=float,
        metavar="S",
        help=f"least score of a box (default {DETECTOR_SCORE:g})",
    )
    add(
        "--min-score",
        type=float,
        metavar="S",
        help=f"least score of a person who is new, half of it of one already known (default"
        f" {MIN_SCORE:g})",
    )
    add("--batch", type=int, metavar="N", help="frames in a batch, for files (default 8)")


def _add_people(add: Any) -> None:
    add(
        "--smooth",
        choices=("display", "data", "all", "off"),
        help="steady joints in the picture (default), in the data, in both or nowhere",
    )
    add(
        "--select",
        type=_choice,
        metavar="WHO",
        help="one person: largest, center or an id; none (default): everybody",
    )
    _switch(add, "--fix-swaps", "undo swaps of left and right that last some frames")


def _add_run(add: Any) -> None:
    add("--config", type=_path, metavar="FILE.toml", help="options by their long names")
    _switch(add, "--bench", "measure how fast this machine is, with --end how long each time")
    add("--streams", type=int, metavar="N", help="with --bench: N live cameras at once")
    _switch(add, "--print-config", "print the options in force as TOML and leave")
    _switch(add, "--version", "versions of everything and hashes of the weights")
    _switch(add, "--quiet", "no progress, no summary")
    add("-v", "--verbose", action="count", help="more messages; twice for all")
    add("--log-file", type=_path, metavar="FILE", help="messages also into this file")
    _switch(add, "--debug", "tracebacks with errors")


def unknown(word: str, parser: argparse.ArgumentParser) -> str:
    """What to say about a word of the command line that means nothing."""
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    flags = [flag for action in shown for flag in action.option_strings]
    if not word.startswith("-"):
        how = f"with --input {word}" if "--input" in flags else "together, before the options"
        return f"{word!r} stands alone; inputs are given {how}"
    found = flag_meant(word, flags)
    return f"unknown option {word}; " + (f"did you mean {found}?" if found else "see --help")


def _switch(add: Any, name: str, text: str) -> None:
    add(name, action="store_true", default=None, help=text)


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options by their name in Settings."""
    return {a.dest: a for a in parser._actions if a.dest not in ("help", "config")}


def is_switch(action: argparse.Action) -> bool:
    return action.nargs == 0 and action.dest != "verbose"


def _camera(text: str) -> int:
    number = camera_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a camera number (0, 1, ...)")
    return number


def _named(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def _path(text: str) -> Path:
    if text == "-":
        raise argparse.ArgumentTypeError("only --json writes to standard output; a file is ./-")
    return Path(_named(text))  # of "" Path would make the folder one is in


def _choice(text: str) -> str:
    return str(parse_choice(text))


def _served(text: str) -> str:
    return str(parse_address(text))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 1280x720")
    return int(width), int(height)
