"""Which format a file is in: for --data, and to read it back."""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from realtime.errors import InputError
from realtime.formats.arrays import ArrayForm, load_mat, load_npz, save_mat, save_npz
from realtime.formats.documents import CocoResults, Document, load_json, load_jsonl
from realtime.formats.files import Form, SpooledSink, spools
from realtime.formats.openpose import OpenPoseFolder, load_openpose
from realtime.formats.rows import Loaded, LoadedFrame
from realtime.formats.tables import CsvSink, load_csv
from realtime.formats.target import SUFFIXES, Target
from realtime.formats.trc import Trc, load_trc
from realtime.sinks.base import Sink
from realtime.sinks.jsonl import JsonLines


@dataclass(frozen=True, slots=True)
class About:
    """What the formats say about a run.

    source: its name. with_file: frames are images with names of their own. angles: joint angles
    are wanted. least_score: joints below it are left out where a format has no scores (TRC).
    rate: nominal frames per second, None when not known. height: of the person in metres, for a TRC
    in metres. title: the name that a TRC tells; that of the file where empty.
    """

    source: str
    with_file: bool = False
    angles: bool = False
    least_score: float = 0.3
    rate: float | None = None
    height: float | None = None
    title: str = ""


def open_data(
    targets: Sequence[Target], about: About, *, overwrite: bool, cleanup: ExitStack
) -> list[Sink]:
    """A sink for each target; cleanup takes them back. Raises OutputError.

    They are called data.csv, data.csv2 and so on in reports.
    """
    sinks = []
    used: Counter[str] = Counter()
    for target in targets:
        used[target.format] += 1
        number = used[target.format]
        name = f"data.{target.format}{number if number > 1 else ''}"
        sink = _open(name, target, about, overwrite)
        cleanup.callback(sink.close, clean=False)
        sinks.append(sink)
    return sinks


def _open(name: str, target: Target, about: About, overwrite: bool) -> Sink:
    path, with_file, angles = target.path, about.with_file, about.angles
    if target.format == "jsonl":
        return JsonLines(path, overwrite=overwrite, with_file=with_file, angles=angles, name=name)
    if target.format in ("csv", "csv-wide"):
        wide = target.format == "csv-wide"
        return CsvSink(
            name, path, overwrite=overwrite, wide=wide, with_file=with_file, angles=angles
        )
    if target.format == "openpose":
        stem = None if with_file else Path(about.source).stem
        return OpenPoseFolder(name, path, overwrite=overwrite, stem=stem)
    return SpooledSink(name, path, _form(target, about, overwrite), overwrite)


def _form(target: Target, about: About, overwrite: bool) -> Form:
    path, with_file, angles = target.path, about.with_file, about.angles
    if target.format in ("npz", "mat"):
        save = save_npz if target.format == "npz" else save_mat
        return ArrayForm(spools(path, overwrite, 3), save, with_file, angles)
    (spool,) = spools(path, overwrite)
    if target.format == "json":
        return Document(spool, about.source, with_file, angles)
    if target.format == "coco":
        return CocoResults(spool, with_file)
    return Trc(spool, about.title or path.name, about.least_score, about.rate, about.height)


_LOADERS: dict[str, Callable[[Path], Loaded]] = {
    "jsonl": load_jsonl,
    "json": load_json,
    "csv": load_csv,
    "csv-wide": load_csv,
    "npz": load_npz,
    "mat": load_mat,
    "coco": load_json,
    "openpose": load_openpose,
    "trc": load_trc,
}
WITHOUT_ANGLES = ("coco", "openpose", "trc")
"""Formats that have no place for joint angles."""
_DAMAGE = (
    ValueError, KeyError, TypeError, IndexError, EOFError, AttributeError,
    NotImplementedError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error, struct.error, json.JSONDecodeError,
)  # fmt: skip
"""What readers raise on a file that is not what its name says."""


def load(path: str | Path, format_: str = "") -> list[LoadedFrame]:
    """The poses of a file or folder that --data or --json wrote, frame by frame in its order.
    format_: one of FORMATS; else the name tells it.

    Text formats hold pixels with 2 decimals; CSV and COCO do not hold frames without people; TRC
    holds one person, without scores. A file of a proper form without frames gives none; one of 0
    bytes is refused, but for JSON Lines, where it has no line. Raises InputError.
    """
    return read(Path(path), format_).frames


def read(path: Path, format_: str = "") -> Loaded:
    """As load(), with what is left out of the frames."""
    known = "openpose" if path.is_dir() else format_ or SUFFIXES.get(path.suffix.lower(), "")
    reader = _LOADERS.get(known)
    if reader is None:
        allowed = f"a folder or a name ending in {', '.join(SUFFIXES)}, or FORMAT:FILE"
        raise InputError(f"{path}: expected {allowed}")
    try:
        if path.is_file() and path.stat().st_size == 0 and reader is not load_jsonl:
            raise InputError(f"{path}: is empty (0 bytes); give a file that --data or --json wrote")
        return reader(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except _DAMAGE as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise InputError(f"{path}: not a file of poses, or a damaged one: {reason}") from error
