"""Images: one, a folder or a glob; independent of each other, or as a video of 30 per second."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Event
from time import perf_counter

import cv2
import numpy as np

from realtime.errors import InputError, UsageError
from realtime.records import Frame, Image
from realtime.sources.base import Source, SourceInfo, Span
from realtime.sources.container import shown
from realtime.sources.decode_video import MAX_PIXELS
from realtime.sources.image_header import has_more, image_size, is_broken_png
from realtime.sources.span import check_span, reached
from realtime.status import NEVER, SourceStatus

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SEQUENCE_RATE = 30
MAX_BYTES = 512 * 1024 * 1024
MAX_NOTES = 20
OTHERS = (".heic", ".heif", ".avif", ".gif", ".jxl", ".jp2", ".dng")
"""Names of pictures that are not read."""


def is_image(path: Path) -> bool:
    """Whether the name is that of an image."""
    return path.suffix.lower() in EXTENSIONS


def open_images(pattern: str, span: Span, sequence: bool = False) -> Source:
    """One image file, the images of a folder (not of its subfolders), or those matching a glob.

    They come in natural order (frame2 before frame10), each with its file name as Frame.source;
    its number in that order is Frame.index, also when others could not be read. Frame.time is
    index / 30 for a sequence; independent images have no time and get one second each. Raises
    InputError when no image can be read, UsageError for a span that cannot be.
    """
    check_span(span)
    if not sequence and (isinstance(span.start, float) or isinstance(span.end, float)):
        raise UsageError("--start, --end: independent images have no seconds; give their numbers")
    paths, others = _images_and_others(pattern)
    chosen = list(enumerate(paths))[_slice(span)]
    if not chosen:
        raise InputError(
            f"{shown(pattern)}: no image between --start and --end, there are {len(paths)}"
        )
    first = _first_readable(pattern, [path for _, path in chosen])
    single = len(paths) == 1
    info = SourceInfo(
        name=shown(Path(pattern).name or pattern),
        kind="images",
        independent=not sequence,
        frames=len(chosen),
        rate=float(SEQUENCE_RATE) if sequence else None,
        size_wh=(first.shape[1], first.shape[0]) if sequence or single else None,
        path=paths[0] if single else None,
        time_base=Fraction(1, SEQUENCE_RATE) if sequence else None,
        start=chosen[0][0] / SEQUENCE_RATE if sequence and span.start else 0.0,
    )
    source = ImagesSource(chosen, info)
    if others:
        kinds = ", ".join(sorted({path.suffix.lower()[1:] for path in others}))
        source.status.note(
            f"{info.name}: {len(others)} pictures left out, of kinds not read: {kinds}"
        )
    return source


class ImagesSource:
    """See Source; unreadable images are skipped, noted and counted in status.bad_packets."""

    def __init__(self, chosen: list[tuple[int, Path]], info: SourceInfo) -> None:
        """chosen: the number and the path of each image."""
        self.info = info
        self.status = SourceStatus(NEVER)
        self._chosen = chosen
        self._stacks: list[str] = []  # names of files with more than one picture
        self._closed = Event()

    def close(self) -> None:
        """End frames() before its next image."""
        self._closed.set()

    def frames(self) -> Generator[Frame, None, None]:
        """One frame for each image that can be read."""
        per_second = SEQUENCE_RATE if not self.info.independent else 1
        for index, path in self._chosen:
            if self._closed.is_set():
                return
            self.status.works()
            grabbed = perf_counter()
            try:
                image = read_image(path, self._stacks)
            except InputError as error:
                self._skip(str(error))
                continue
            self.status.frame()
            yield Frame(index, index / per_second, image, shown(path.name), grabbed)
        if self.status.bad_packets > MAX_NOTES:
            more = self.status.bad_packets - MAX_NOTES
            self.status.note(f"{self.info.name}: {more} more images skipped", damage=True)
        if self._stacks:
            first, *rest = self._stacks
            also = f" and {len(rest)} more" if rest else ""
            self.status.note(
                f"{first}{also}: several pictures in one file, of which the first is read"
            )
        self.status.ended()

    def _skip(self, reason: str) -> None:
        self.status.bad_packets += 1
        if self.status.bad_packets <= MAX_NOTES:
            self.status.note(f"{reason}; skipped", damage=True)


def read_image(path: Path, stacks: list[str] | None = None) -> Image:
    """The image, uint8 (H, W, 3) BGR, turned as its EXIF orientation says; gray is repeated,
    16 bit reduced to 8, alpha dropped. The name of a file that holds more pictures is added to
    stacks. Raises InputError when it cannot be read or has more than MAX_PIXELS."""
    name = shown(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{name}: more than {MAX_BYTES >> 20} MiB, too large for an image")
        data = np.fromfile(path, np.uint8)  # unlike cv2.imread: any file name on any system
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    whole = data.tobytes()
    size = image_size(whole)
    if size is None:
        raise InputError(f"{name}: not an image that can be read")
    if size[0] * size[1] > MAX_PIXELS:
        limit = f"the limit of {MAX_PIXELS // 1_000_000} megapixels; scale it down first"
        raise InputError(f"{name}: {size[0]}x{size[1]} pixels are more than {limit}")
    damaged = "damaged" + " or of floating-point numbers" * whole.startswith((b"II", b"MM"))
    try:
        with _without_log():
            image = None if is_broken_png(whole) else cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise InputError(f"{name}: {damaged}, cannot be decoded") from error
    if image is None:
        raise InputError(f"{name}: {damaged}, cannot be decoded")
    if stacks is not None and has_more(whole):
        stacks.append(name)
    return np.ascontiguousarray(image, np.uint8)


@contextmanager
def _without_log() -> Iterator[None]:
    """OpenCV writes several lines to stderr for every damaged image; ours says it in one."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def images_of(pattern: str) -> list[Path]:
    """The images pattern stands for, in natural order. Raises InputError when there is none."""
    return _images_and_others(pattern)[0]


def _images_and_others(pattern: str) -> tuple[list[Path], list[Path]]:
    """images_of(), and the pictures there that are not read."""
    path, name = Path(pattern), shown(pattern)
    try:
        if path.is_dir():
            found = [p for p in path.iterdir() if not p.name.startswith(".")]
        elif path.exists():
            found = [path]
        elif "*" in pattern or "?" in pattern:
            found = _matching(path)
        else:
            raise InputError(f"{name}: no such file or folder")
        images = [p for p in found if is_image(p) and (p.is_file() or not p.exists())]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be read: {reason}") from error
    if not images:
        kinds = ", ".join(extension[1:] for extension in EXTENSIONS)
        raise InputError(
            f"{name}: no images there; looked for {kinds} (for many videos: python -m"
            " realtime.batch, or --input for each)"
        )
    others = [p for p in found if p.suffix.lower() in OTHERS]
    return sorted(images, key=_natural), others


def _matching(path: Path) -> list[Path]:
    """The files matching a pattern; its folder is taken literally when no * or ? is in it, so
    that folders with [brackets] work."""
    folder = path.parent
    if "*" in str(folder) or "?" in str(folder):
        found = list(Path(path.anchor or ".").glob(str(path)[len(path.anchor) :]))
    else:
        files = folder.iterdir() if folder.is_dir() else ()
        found = [p for p in files if fnmatch.fnmatch(p.name, path.name)]
    return [p for p in found if not p.name.startswith(".")]


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Numbers in names sort by value; text and numbers alternate, so like meets like."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], str(path)


def _slice(span: Span) -> slice:
    """The span as a slice of image numbers."""

    def number(limit: int | float) -> int:
        if isinstance(limit, int):
            return limit
        guess = max(0, int(limit * SEQUENCE_RATE) - 1)  # then the first number reaching it
        return next(i for i in range(guess, guess + 3) if reached(limit, i, i / SEQUENCE_RATE))

    return slice(number(span.start), None if span.end is None else number(span.end), span.stride)


def _first_readable(pattern: str, paths: list[Path]) -> Image:
    reasons = []
    for path in paths:
        try:
            return read_image(path)
        except InputError as error:
            reasons.append(str(error))
    if len(paths) == 1:
        raise InputError(reasons[0])
    raise InputError(f"{shown(pattern)}: none of its {len(paths)} images can be read; {reasons[0]}")
