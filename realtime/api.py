"""The Python interface: stream() yields poses, run() writes outputs, load() reads them back.

    from realtime import stream

    with stream("walk.mp4") as items:
        for item in items:
            print(item.frame.time, item.poses.ids, item.poses.joints_xy)

Options are those of the command line, by their long names with underscores. Nothing is kept
between two calls: no signal handlers, no window, nothing printed; several streams may be open at
once. Every error is a realtime.errors.PosestreamError with a one-line message.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from engines.base import Network, Precision
from realtime.app import perform
from realtime.cli import settings_of
from realtime.controls import OVERLAYS
from realtime.decode import Method
from realtime.errors import InputError, UsageError
from realtime.flow import Crew
from realtime.formats.registry import load
from realtime.formats.rows import LoadedFrame
from realtime.formats.target import Format
from realtime.ledger import Ledger
from realtime.loop import STOP_LIMIT
from realtime.no_use import say_what_is_idle
from realtime.opening import load_networks, open_source, pipeline_options
from realtime.pipeline import Pipeline
from realtime.records import PosedFrame
from realtime.run_report import write_report
from realtime.settings import Settings
from realtime.smooth import Where
from realtime.sources.base import SourceInfo
from realtime.stop import Stop

if TYPE_CHECKING:
    from typing_extensions import Unpack  # part of typing from Python 3.11 on

__all__ = ["LoadedFrame", "RunOptions", "Stream", "load", "run", "stream"]


class RunOptions(TypedDict, total=False):
    """Options of stream() and run(); what they mean is said by run_camera.py --help. Further ones
    of the command line are taken as well. The last ones are about the picture that run() draws:
    overlay what is drawn, mirror flips it, blur_faces makes faces unrecognisable, min_joint_score
    hides joints below it, crf is the quality of the video; so is compare, which shows a second
    network's people beside the others. stream() draws nothing and takes none but min_joint_score.
    """

    start: str | int
    end: str | int
    stride: int
    sequence: bool
    live: bool
    seed: int
    camera_size: str
    camera_fps: float
    no_wait: bool
    max_reconnects: int
    detector: str | Path
    pose: str | Path
    compare: str | Path
    engine: str
    precision: Precision
    compute: str
    threads: int
    detect_every: int
    bridge: int
    decode: Method
    detector_score: float
    min_score: float
    batch: int
    smooth: Where
    fix_swaps: bool
    select: str | int
    overlay: Literal["skeleton", "heatmap", "boxes", "black"]
    mirror: bool
    blur_faces: bool
    min_joint_score: float
    crf: int
    strict: bool


COMMAND_LINE = ("explain", "list_cameras", "bench", "version", "print_config", "log_file")
"""Options that stream() and run() would leave undone."""
NOT_STREAMED = (
    "output", "json", "data", "screenshot", "pictures", "report", "status_file", "angles", "serve",
    "show", "fullscreen", "record_required",
)  # fmt: skip
"""Those that stream() would as well."""


def _refuse(settings: Settings, names: Sequence[str], why: str) -> None:
    """Raise UsageError where one of the options is given."""
    for name in names:
        if getattr(settings, name):
            raise UsageError(f"{name} {why}")


class _Parts:
    """What an open stream holds."""

    def __init__(self, settings: Settings) -> None:
        with ExitStack() as opened:
            self.source = open_source(settings)
            opened.callback(self.source.close)
            say_what_is_idle(settings, [self.source.info])
            detector, pose = load_networks(settings, self.source.info)
            opened.pop_all()
        self.strict = settings.strict
        self._networks: list[Network] = [detector.network, pose]
        self.crew = Crew()
        ledger, options = Ledger(self.source.info.live), pipeline_options(settings)
        self.pipeline = Pipeline(self.source, detector, pose, None, ledger, options)

    def close(self) -> None:
        """The source first, so that the thread reading it ends; the networks are not taken from a
        thread that does not."""
        self.source.close()
        if not self.crew.join(STOP_LIMIT):
            while self._networks:
                self._networks.pop().close()


def _frames(parts: _Parts) -> Generator[PosedFrame, None, None]:
    """Knows nothing of the Stream, so that one that is dropped half-way closes at once."""
    try:
        with closing(parts.pipeline.frames(parts.crew)) as finished:
            for group in finished:
                yield from group
        damage = parts.source.status.damage
        if parts.strict and damage:
            raise InputError(f"{damage} (strict)")
    finally:
        parts.close()


class Stream:
    """An open source with the networks on it; iterate it for PosedFrame, once.

    Files give every frame in order; live sources the newest one each time, so a slow loop skips
    frames (gaps in item.frame.index). info: what is known of the source. Close it, or use it as a
    context manager; at the end of the source it closes itself. Belongs to one thread.
    """

    def __init__(self, settings: Settings) -> None:
        _refuse(settings, COMMAND_LINE, "is for the command line")
        _refuse(settings, NOT_STREAMED, "is for run(); stream() gives poses and writes nothing")
        _refuse(settings, ["blur_faces"], "is for what run() writes; stream() gives raw frames")
        drawing = {"compare": settings.compare, "mirror": settings.mirror}
        drawing["overlay"] = settings.overlay != OVERLAYS[0]
        drawing["crf"] = settings.crf is not None
        for name, asked in drawing.items():
            if asked:
                raise UsageError(f"{name} is for what run() draws; stream() draws nothing")
        parts = _Parts(settings)
        self.info: SourceInfo = parts.source.info
        self._parts = parts
        self._items = _frames(parts)

    def __iter__(self) -> Iterator[PosedFrame]:
        return self

    def __next__(self) -> PosedFrame:
        return next(self._items)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and let source and networks go; further calls do nothing."""
        self._items.close()
        self._parts.close()


def stream(
    input: str | Path | None = None, *, device: int | None = None, **options: Unpack[RunOptions]
) -> Stream:
    """Open a video, URL, folder, glob, image or "demo", or camera number device (0 when neither is
    given), and the networks. Raises PosestreamError; iterating does as well."""
    return Stream(settings_of(input=input, device=device, **{"quiet": True, **options}))


def run(
    input: str | Path | None = None,
    *,
    device: int | None = None,
    output: str | Path | None = None,
    data: str | Path | Sequence[str | Path] = (),
    format: Format | None = None,
    screenshot: str | Path | None = None,
    pictures: str | Path | None = None,
    report: str | Path | None = None,
    overwrite: bool = False,
    angles: bool = False,
    record_required: bool = False,
    **options: Unpack[RunOptions],
) -> dict[str, Any]:
    """Carry a whole run out, from the source to its end, and return its report (see --report).

    output: annotated video (.mp4). data: files of poses, as --data takes them; format: of those
    that name none, as --format. screenshot: a picture (.png). pictures: a folder for one of each
    frame. report: a file for the report. Raises PosestreamError; the outputs are finalised all the
    same.
    """
    settings = settings_of(
        input=input, device=device, output=output, data=data, format=format,
        screenshot=screenshot, pictures=pictures, report=report, overwrite=overwrite, angles=angles,
        record_required=record_required, headless=True, quiet=True, **options,
    )  # fmt: skip
    _refuse(settings, COMMAND_LINE, "is for the command line")
    told, failure, _ = perform(settings, Stop())
    if settings.report:
        told["exit_code"] = failure.exit_code if failure else 0
        write_report(settings.report, told, settings.overwrite)
    if failure:
        raise failure
    return told
