"""One run as asked for: names, defaults, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.asked import check_place
from realtime.bench.options import check_bench
from realtime.choice import EVERYBODY
from realtime.defaults import BRIDGE, DETECTOR_SCORE, MIN_JOINT_SCORE, MIN_SCORE
from realtime.errors import UsageError
from realtime.formats.target import SUFFIXES, parse_target
from realtime.inputs import check_no_input
from realtime.sinks.outfile import check_names
from realtime.sources.base import Span


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
    format: str | None
    angles: bool
    screenshot: Path | None
    pictures: Path | None
    report: Path | None
    status_file: Path | None
    overwrite: bool
    crf: int | None
    segment: float | None
    record_required: bool
    min_free: int
    show: bool
    fullscreen: bool
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
    bridge: int
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

    def gives(self, name: str) -> bool:
        """Whether the option has another value than the one it has anyway."""
        value = getattr(self, name)
        return value is not None and value is not False and value != DEFAULTS.get(name)

    @property
    def span(self) -> Span:
        """The part of the source to read."""
        return Span(_moment(self.start, "start") or 0, _moment(self.end, "end"), self.stride)

    @property
    def networks(self) -> tuple[Path | None, ...]:
        """What was given as networks: files, or names of fetched ones."""
        return self.detector, self.pose, self.compare

    @property
    def outputs(self) -> list[Path]:
        """The files and folders that are written. Raises UsageError for --data that cannot be."""
        json = Path(self.json) if self.json and self.json != "-" else None
        pictures = self.output, self.screenshot, self.pictures
        told = self.report, self.status_file, self.log_file
        data = (parse_target(text).path for text in self.data)
        return [*filter(None, (*pictures, json, *told)), *data]


DEFAULTS: dict[str, Any] = {
    "device": (), "input": (), "start": "", "end": "", "stride": 1, "seed": 0, "json": None,
    "data": (), "smooth": "display",
    "min_joint_score": MIN_JOINT_SCORE, "engine": "auto", "precision": "auto", "compute": "auto",
    "decode": "udp", "detector_score": DETECTOR_SCORE, "min_score": MIN_SCORE, "batch": 8,
    "bridge": BRIDGE,
    "verbose": 0, "min_free": 200, "overlay": "skeleton",
    "select": EVERYBODY,
}  # fmt: skip

FAR = 1e12
"""Frames or seconds; no source goes on to there."""


def _moment(text: str, name: str) -> int | float | None:
    """A frame number (int) or seconds (float, written with s); None when empty."""
    if not text:
        return None
    try:
        moment: int | float = float(text[:-1]) if text.endswith("s") else int(text)
    except ValueError:
        moment = -1
    if not 0 <= moment < FAR:
        raise UsageError(f"--{name} {text}: expected a frame number (120) or seconds (4.5s)")
    return moment


def validate(s: Settings) -> None:
    """Ranges and combinations. Raises UsageError."""
    _validate_numbers(s)
    check_place(s.compute, s.threads)
    if len(s.device) + len(s.input) > 1:
        _validate_several(s)
    if s.headless and (s.show or s.fullscreen):
        raise UsageError("--headless excludes --show and --fullscreen")
    check_no_input((s.log_file, s.status_file), s.input, s.networks)
    _validate_outputs(s)
    _ = s.span
    check_bench(s)
    if s.format and not s.data:
        raise UsageError(f"--format {s.format} goes with --data FILE")
    others = {*s.outputs} - {s.log_file}
    if s.explain and (others or s.json or s.serve or s.show or s.fullscreen):
        raise UsageError(
            "--explain works on one frame and leaves; give it without window, page, other outputs"
        )
    if s.compare and (s.explain or str(s.compare) == "auto" or s.select.isdigit()):
        raise UsageError("--compare takes one network, and goes without --explain and --select ID")
    if s.explain_frame is not None and (s.explain_frame < 0 or not s.explain):
        raise UsageError("--explain-frame takes a number from 0, and goes with --explain FOLDER")
    check_names(s.outputs)


def _validate_numbers(s: Settings) -> None:
    for name in ("detector_score", "min_score", "min_joint_score"):
        value = getattr(s, name)
        if not 0 <= value <= 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected 0 to 1")
    for name in ("stride", "detect_every", "batch"):
        count = getattr(s, name)
        if count is not None and not 1 <= count <= 1000:
            raise UsageError(f"--{name.replace('_', '-')} {count}: expected 1 to 1000")
    if not 0 <= s.bridge <= 100:
        raise UsageError(f"--bridge {s.bridge}: expected 0 to 100")
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


def _validate_outputs(s: Settings) -> None:
    """What each output may be called, and --segment, which is about one."""
    if s.output is not None and s.output.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        raise UsageError(
            f"--output {s.output}: expected a name ending in .mp4 (pictures: --pictures FOLDER)"
        )
    if s.json and SUFFIXES.get(Path(s.json).suffix.lower(), "jsonl") not in ("jsonl", "json"):
        raise UsageError(f"--json {s.json}: writes JSON Lines (.jsonl); give it as --data {s.json}")
    if s.segment is not None and not (s.output and 1 <= s.segment < float("inf")):
        raise UsageError(f"--segment {s.segment:g}: takes 1 second or more, and goes with --output")
    if s.screenshot is not None and s.screenshot.suffix.lower() != ".png":
        raise UsageError(f"--screenshot {s.screenshot}: expected a name ending in .png")
    if s.pictures is not None and not s.pictures.name:
        raise UsageError(f"--pictures {s.pictures}: expected the name of a folder of its own")


def _validate_several(s: Settings) -> None:
    """What several sources at once cannot have. Raises UsageError."""
    if len(set(s.device)) < len(s.device):
        raise UsageError("--device: the same camera twice")
    if s.input.count("-") > 1:
        raise UsageError("--input -: standard input twice; what comes there can be read once")
    if s.explain:
        raise UsageError("--explain takes one source; give one --device or --input")
    if s.json == "-":
        raise UsageError("--json - takes one source; a file gets a number for each of several")
