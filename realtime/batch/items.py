"""Which files a batch is made of."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from realtime.asked import check_input
from realtime.batch.store import is_url, url_to_fs
from realtime.errors import InputError, UsageError
from realtime.masking import mask_credentials

ENDS = 1 << 16
"""Bytes at either end of a file that are part of its mark."""
_CHANGED = ("ETag", "mtime", "LastModified", "Last-Modified", "created", "CRC")
"""What the kinds of places call what changes with a file."""
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Item:
    """One input. name: its path below the fixed part of the pattern, with forward slashes; what
    its results are called after. where: absolute path or URL. size: bytes. mark: changes when the
    file does, see mark(); empty when it cannot be read."""

    name: str
    where: str
    size: int
    mark: str


def find(patterns: Sequence[str]) -> list[Item]:
    """The files that paths, patterns (**, *, ?, [...]) and fsspec URLs stand for, by name.

    Raises InputError when one stands for nothing, UsageError when two files would have the same
    results.
    """
    found: list[Item] = []
    plain = [p for p in patterns if not is_url(p) and (not _MAGIC.search(p) or _is_file(Path(p)))]
    for pattern in patterns:
        if is_url(pattern):
            found += _remote(pattern)
        elif pattern not in plain:
            found += _matching(pattern)
    found += _plain(plain)
    by_name: dict[str, Item] = {}
    for item in found:
        other = by_name.setdefault(item.name, item)
        if other.where != item.where:
            raise UsageError(
                f"{other.where} and {item.where} would both have {item.name} as the name of their "
                "results; run them with an --out each"
            )
    return [by_name[name] for name in sorted(by_name)]


def _is_file(path: Path, unknown: bool = False) -> bool:
    """unknown: what to say where that may not be known (a folder without permission): such a file
    counts, so that it is told as one that cannot be read."""
    try:
        return path.is_file()
    except OSError:
        return unknown


def _leads_nowhere(path: Path) -> bool:
    """Whether it is a link to nothing, which counts as a file that cannot be read."""
    return path.is_symlink() and not path.exists()


def _plain(paths: Sequence[str]) -> list[Item]:
    """Files given by their names; results are called after what follows their common folder."""
    for path in paths:
        check_input(path)
        if Path(path).is_dir():
            raise InputError(f"{path}: is a folder; give a pattern like {path}/**/*.mp4, in quotes")
    whole = [Path(os.path.normpath(Path(path).absolute())) for path in paths]
    if not whole:
        return []
    try:
        root = Path(os.path.commonpath([path.parent for path in whole]))
    except ValueError:  # Windows
        raise UsageError(f"{paths[0]}, ...: are on several drives; one batch for each") from None
    return [_local(path, root) for path in whole]


def _matching(pattern: str) -> list[Item]:
    fixed = _fixed(pattern, os.path.isdir)
    root = Path(fixed).absolute()
    paths = root.glob(str(Path(pattern).relative_to(fixed)))
    files = [_local(path, root) for path in paths if _is_file(path, True) or _leads_nowhere(path)]
    if not files:
        raise InputError(f"{pattern}: matches no file")
    return files


def _local(path: Path, root: Path) -> Item:
    name = path.relative_to(root).as_posix()
    try:
        state = path.stat()
        with path.open("rb") as file:
            head = file.read(ENDS)
            file.seek(max(0, state.st_size - ENDS))
            tail = file.read(ENDS)
    except OSError:  # said by the worker that tries to open it
        return Item(name, str(path), 0, "")
    return Item(name, str(path), state.st_size, mark(state.st_size, state.st_mtime_ns, head, tail))


def _remote(pattern: str) -> list[Item]:
    fs, path = url_to_fs(pattern)
    first, chained, rest = pattern.partition("::")  # zip://*.mp4::https://lab/videos.zip
    within = chained + rest if "://" in first else ""
    root = PurePosixPath(_fixed(path) if _MAGIC.search(path) else str(PurePosixPath(path).parent))
    try:
        found: dict[str, dict[str, Any]] = fs.glob(path, detail=True)
        files = [
            _remote_item(fs, info, PurePosixPath(name).relative_to(root).as_posix(), within)
            for name, info in found.items()
            if info["type"] == "file"
        ]
    except Exception as error:  # each kind of place has its own
        text = f"{pattern}: cannot be listed: {error or type(error).__name__}"
        raise InputError(mask_credentials(text)) from error
    if not files:
        raise InputError(f"{mask_credentials(pattern)}: matches no file")
    return files


def _remote_item(fs: Any, info: dict[str, Any], name: str, within: str) -> Item:
    """within: what follows the path in the URL of a file that is in another one."""
    path = info["name"]
    if not info.get("size"):  # lists of web servers do not tell
        info = {**info, **fs.info(path)}
    where, size = fs.unstrip_protocol(path) + within, int(info.get("size") or 0)
    changed = next((info[k] for k in _CHANGED if k in info), "")
    head = fs.cat_file(path, start=0, end=min(size, ENDS)) if size else b""
    tail = fs.cat_file(path, start=max(0, size - ENDS), end=size) if size else b""
    return Item(name, where, size, mark(size, changed, head, tail) if size else "")


def same(first: str, second: str) -> bool:
    """Whether two values of Item.where are one place, however its path is written."""
    if is_url(first) or is_url(second):
        return first == second
    return os.path.realpath(first) == os.path.realpath(second)


def mark(size: int, changed: object, head: bytes, tail: bytes) -> str:
    """SHA-256 over the size, the time of the last change and 64 KiB of either end: telling without
    reading 10,000 videos whole."""
    return hashlib.sha256(f"{size} {changed} ".encode() + head + tail).hexdigest()


def _fixed(pattern: str, is_folder: Callable[[Path], bool] = lambda path: False) -> str:
    """The folder that all matches of a pattern are in. is_folder: tells of a folder that has the
    characters of patterns in its name ("walk[1]")."""
    folder = Path()
    for part in Path(pattern).parts[:-1]:
        if _MAGIC.search(part) and not is_folder(folder / part):
            break
        folder /= part
    return str(folder)
