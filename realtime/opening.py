"""Opens what a run needs: source, outputs, networks, so that mistakes are told in this order."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engines import bundled, choose
from engines.base import ModelSpec, Network, Precision, Task
from engines.identify import describe, identify, read
from engines.load import find_default, find_tiny, load
from realtime.asked import check_input
from realtime.choice import parse_choice
from realtime.controls import with_overlay
from realtime.decode import Method
from realtime.detect import Detector
from realtime.draw import Style
from realtime.errors import ModelError, UsageError
from realtime.formats.registry import About, open_data
from realtime.formats.target import parse_target
from realtime.halving import Halving
from realtime.inputs import check_no_input
from realtime.no_use import refuse
from realtime.pipeline import STREAMS, Options
from realtime.settings import Settings
from realtime.sinks.base import Sink
from realtime.sinks.jsonl import JsonLines
from realtime.sinks.outfile import check_writable
from realtime.sinks.pictures import Pictures
from realtime.sinks.record import Recorder
from realtime.sinks.screenshot import Screenshot
from realtime.sinks.window import display_available
from realtime.smooth import Where
from realtime.sources.base import Source, SourceInfo
from realtime.sources.camera import CameraMode, open_camera
from realtime.sources.container import STANDARD_INPUT, is_regular
from realtime.sources.demo import open_demo
from realtime.sources.file import open_file
from realtime.sources.images import is_image, open_images
from realtime.sources.url import is_url, open_url
from realtime.stop import Stop

if TYPE_CHECKING:  # it needs a library that only --serve needs
    from realtime.serve.page import Page

logger = logging.getLogger(__name__)

KEEP = "--output and --json keep what is found"


def open_source(settings: Settings) -> Source:
    """The one source asked for; camera 0 when none was. Raises InputError or UsageError."""
    span = settings.span
    if len(settings.device) + len(settings.input) > 1:
        raise UsageError("several sources at once are for the command line; open them one by one")
    if settings.device or not settings.input:
        number = settings.device[0] if settings.device else 0
        return open_camera(
            number,
            CameraMode(settings.camera_size, settings.camera_fps),
            span=span,
            max_reconnects=settings.max_reconnects,
        )
    name = settings.input[0]
    name = name.strip() if is_url(name.strip()) else name
    if name == "demo":
        return open_demo(settings.seed, span, settings.live)
    if is_url(name):
        return open_url(
            name, span, wait=not settings.no_wait, max_reconnects=settings.max_reconnects
        )
    if name == "-" and STANDARD_INPUT is None:
        raise UsageError("--input -: not on Windows; have the stream sent to tcp://... or a file")
    name = STANDARD_INPUT if name == "-" and STANDARD_INPUT else name
    path = Path(name)
    if not check_input(name) or path.is_dir() or is_image(path):
        if not settings.sequence:
            refuse(settings, "independent")
        return open_images(name, span, settings.sequence)
    return open_file(path, span)


def wants_window(settings: Settings, info: SourceInfo) -> bool:
    """Whether to open a window: for live sources, on --show, and for files without outputs.

    Without a display it stays closed, with a line saying so when it was asked for or nothing is
    kept of the run.
    """
    outputs = _leaves_something(settings)
    shown = settings.show or settings.fullscreen
    asked = shown or info.live or not outputs
    if settings.headless or not asked:
        return False
    if display_available():
        return True
    level = logging.WARNING if shown or not outputs else logging.INFO
    keep = "" if outputs else f"; {KEEP}"
    logger.log(level, "no display here; going on without a window%s", keep)
    return False


def say_what_is_kept(settings: Settings) -> None:
    """A warning when nobody will see anything of the run, and nobody has asked for quiet."""
    if settings.headless and not (settings.quiet or _leaves_something(settings)):
        logger.warning("nothing is kept or shown of this run; %s", KEEP)


def _leaves_something(settings: Settings) -> bool:
    """Whether there is anything of a run but its window."""
    files = set(settings.outputs) - {settings.status_file, settings.log_file}
    return bool(files or settings.json or settings.serve)


def check_outputs(settings: Settings, inputs: Sequence[str]) -> None:
    """Raise UsageError when an output that is there is one of these inputs or a network."""
    check_no_input(settings.outputs, inputs, settings.networks)


def open_sinks(settings: Settings, info: SourceInfo, cleanup: ExitStack) -> list[Sink]:
    """The file sinks, created under their final names; cleanup takes them back when something
    fails before the run. Raises OutputError or UsageError."""
    check_outputs(settings, settings.input)
    targets = [parse_target(text) for text in settings.data]
    overwrite, least = settings.overwrite, settings.min_free << 20
    if info.independent and (trc := [t.path for t in targets if t.format == "trc"]):
        raise UsageError(
            f"--data {trc[0]}: TRC is for one person over time, and independent images have nobody"
            " like that; take another format, or add --sequence if they are those of a video"
        )
    sinks: list[Sink] = []

    def add(sink: Sink) -> None:
        cleanup.callback(sink.close, clean=False)
        sinks.append(sink)

    if settings.output:
        add(_recorder(settings.output, settings, info))
    if settings.screenshot:
        add(Screenshot(settings.screenshot, overwrite=overwrite))
    if settings.pictures:
        stem = None if info.independent else Path(info.name).stem
        add(Pictures(settings.pictures, overwrite=overwrite, stem=stem, min_free=least))
    if settings.json:
        path = None if settings.json == "-" else Path(settings.json)
        named, angles = info.independent, settings.angles
        add(JsonLines(path, overwrite=overwrite, with_file=named, angles=angles))
    about = About(info.name, info.independent, settings.angles, settings.min_joint_score, info.rate)
    sinks += open_data(targets, about, overwrite=overwrite, cleanup=cleanup)
    return sinks


def _recorder(path: Path, settings: Settings, info: SourceInfo) -> Recorder:
    asked = {"crf": settings.crf, "segment": settings.segment}
    options: dict[str, Any] = {name: n for name, n in asked.items() if n is not None}
    return Recorder(
        path,
        overwrite=settings.overwrite,
        rate=info.rate,
        time_base=info.time_base,
        audio_from=_sound(info),
        start=None if settings.span.start else 0.0,  # a part of a file starts at 0
        one_size=info.independent,
        min_free=settings.min_free << 20,
        **options,
    )


def _sound(info: SourceInfo) -> Path | None:
    """The file that has the sound of a video. None for a pipe, of which a second reader would take
    away half."""
    return info.path if info.kind == "file" and info.path and is_regular(info.path) else None


def open_page(
    settings: Settings, stop: Stop, alone: bool, info: SourceInfo, cleanup: ExitStack
) -> Page | None:
    """The page in the browser, if asked for; alone: there are no other outputs. Raises OutputError
    when it cannot listen there and ModelError without its library."""
    if settings.serve is None:
        return None
    from realtime.serve.page import Page

    page = Page(settings.serve, stop, alone and not info.live, settings.min_joint_score)
    cleanup.callback(page.close)
    return page


def pipeline_options(settings: Settings, shown: bool = False) -> Options:
    """How the pipeline is to work on the frames, with heads where faces may be blurred: with a
    window (shown) or a page somebody may switch that on at any time."""
    blur = settings.blur_faces
    return Options(
        1 if blur else settings.detect_every,
        settings.bridge,
        cast(Method, settings.decode),
        settings.min_score,
        settings.batch,
        cast(Where, settings.smooth),
        settings.fix_swaps,
        find_heads=blur or shown or settings.serve is not None,
        select=parse_choice(settings.select),
    )


def style_of(settings: Settings) -> Style:
    """How pictures are to be drawn."""
    style = Style(
        min_joint_score=settings.min_joint_score,
        mirror=settings.mirror,
        show_angles=settings.angles,
        blur_faces=settings.blur_faces,
    )
    return with_overlay(style, settings.overlay)


def load_networks(
    settings: Settings, info: SourceInfo, shared: bool = False
) -> tuple[Detector, Network]:
    """The person detector and the pose network, ready to run. shared: by several runs, or for calls
    without a run. Raises ModelError."""
    specs = [(task, model_spec(task, given, info)) for task, given in _networks(settings)]
    streams = {"detector": 1, "pose": 1 if info.live or shared else STREAMS}
    networks = [_load(settings, task, spec, streams[task]) for task, spec in specs]
    bundled = networks[1].spec.path == find_default("pose")
    if bundled and not settings.quiet and (line := choose.offer("pose")):
        print(f"posestream: {line}", file=sys.stderr)
    return Detector(networks[0], settings.detector_score), networks[1]


def load_compared(settings: Settings, pictures: bool) -> Detector | Network:
    """The network of --compare, ready to run. pictures: somebody wants some. Raises UsageError and
    ModelError."""
    if settings.compare is None or not pictures:
        raise UsageError("--compare makes pictures; give --output FILE.mp4, --serve or --show")
    spec = choose.either(settings.compare)
    network = _load(settings, spec.task, spec)
    return Detector(network, settings.detector_score) if spec.task == "detector" else network


def _load(settings: Settings, task: Task, spec: ModelSpec, streams: int = 1) -> Network:
    network = load(
        spec,
        task,
        engine=settings.engine,
        precision=cast(Precision, settings.precision),
        compute=settings.compute,
        threads=settings.threads,
        streams=streams,
    )
    # Here, within what several sources share: their common batch is what may be too large.
    return Halving(network)


def _networks(settings: Settings) -> tuple[tuple[Task, Path | None], ...]:
    return ("detector", settings.detector), ("pose", settings.pose)


def model_spec(task: Task, given: Path | None, info: SourceInfo) -> ModelSpec:
    """The file or the fetched weights given, else the bundled default; for the demo scene the tiny
    networks, which know nothing but that scene and that very well. Raises ModelError."""
    if given and (spec := choose.named(task, given)):
        return spec
    if given is not None and str(given) != choose.AUTO:
        return identify(given)
    path = find_tiny(task) if info.kind == "demo" else None
    path = path or find_default(task)
    if path is None:
        raise ModelError(
            f"no {task} network is bundled yet; give one with --{task} FILE.onnx, or fetch public "
            "weights (posestream-engines list)"
        )
    data = read(path)
    bundled.check(path, data)
    return describe(path, data)


def check_report(settings: Settings) -> None:
    """Raise OutputError when the report could not be written at the end."""
    if settings.report:
        check_writable(settings.report, settings.overwrite)
