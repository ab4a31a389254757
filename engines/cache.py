"""The per-user folder of fetched weights: what is in it, whether it is still what was fetched.

Each model is one file NAME.onnx or NAME.safetensors beside NAME.json, its manifest, which is
written last: a file without one was never finished. Downloads in progress are NAME.part beside
NAME.resume. Nothing here opens a connection.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines import filelock, plan_cache
from engines.base import ModelSpec, Task
from engines.identify import describe, read
from engines.published import PUBLISHED, Published
from realtime.errors import ModelError

VARIABLE = "POSESTREAM_CACHE"
SUFFIXES = (".onnx", ".safetensors")
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What pull wrote down about a file: its name, size in bytes and SHA-256, where it came from,
    and the hash that the download was checked against."""

    name: str
    file: str
    size: int
    sha256: str
    url: str
    digest: str


def cache_dir() -> Path:
    """Where fetched weights live: $POSESTREAM_CACHE, else a folder posestream in the user's cache
    of this system. It need not exist. Raises ModelError where there is no such place."""
    if given := os.environ.get(VARIABLE):
        return Path(given).absolute()
    try:
        return _user_cache() / "posestream"
    except RuntimeError as error:  # no home
        raise ModelError(f"no folder for fetched weights: {error}; set {VARIABLE}") from error


def _user_cache() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says to ignore paths that are not absolute.
    return given if given.is_absolute() else Path.home() / ".cache"


def manifest(name: str, folder: Path) -> Manifest | None:
    """What is known about the fetched weights of that name; None when they were not fetched or
    the manifest is damaged, which is the same as not fetched."""
    try:
        found = json.loads((folder / f"{name}.json").read_bytes())
        known = Manifest(**found)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    kinds = all(type(value) is type(sample) for value, sample in zip(_row(known), _row(_SAMPLE)))
    ours = kinds and known.name == name and known.file in (name + suffix for suffix in SUFFIXES)
    return known if ours else None


def _row(known: Manifest) -> tuple[Any, ...]:
    return tuple(asdict(known).values())


_SAMPLE = Manifest("", "", 0, "", "", "")


def is_fetched(name: str) -> bool:
    """Whether weights of that name were fetched; their file is not looked into."""
    try:
        return manifest(name, cache_dir()) is not None
    except ModelError:  # a user without a home has fetched nothing
        return False


def present(task: Task) -> list[Published]:
    """The fetched weights for a task that can run here, the most accurate first; their files are
    not looked into."""
    found = [e for e in PUBLISHED.values() if e.task == task and is_fetched(e.name) and _runs(e)]
    return sorted(found, key=lambda entry: -entry.accuracy)


def _runs(entry: Published) -> bool:
    return entry.importer != "torchvision" or find_spec("torchvision") is not None


def open_cached(entry: Published) -> ModelSpec:
    """The spec of fetched weights, its name that of entry, after checking that the file is what
    was fetched. Raises ModelError with what to do when it is not there or was changed."""
    folder = cache_dir()
    again = f"posestream-engines pull {entry.name}"
    known = manifest(entry.name, folder)
    if known is None:
        raise ModelError(f"{entry.name} is not on this machine yet; fetch it: {again}")
    path = folder / known.file
    if not path.is_file():
        raise ModelError(f"{path}: gone from the cache; fetch it again: {again}")
    data = read(path)
    # Where the published hash is that of the file itself it counts, whatever the manifest says.
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != known.sha256 or (direct(entry) and not matches(data, entry.digest)):
        raise ModelError(f"{path}: changed since it was fetched; fetch it again: {again}")
    return replace(describe(path, data), name=entry.name, verified=True)


def direct(entry: Published) -> bool:
    """Whether the cached file is the published one, byte by byte."""
    return not entry.importer and not entry.member


def matches(data: bytes, digest: str) -> bool:
    """Whether data has the published hash ("sha256:..." or "sha1:...", or the hash's beginning)."""
    kind, _, digits = digest.partition(":")
    return hashlib.new(kind, data).hexdigest().startswith(digits)


def store(entry: Published, part: Path, suffix: str) -> Path:
    """Move a finished file of the cache folder to its final name; it is whole there or not at
    all. Raises OSError."""
    folder = part.parent
    data = part.read_bytes()
    known = Manifest(
        entry.name,
        entry.name + suffix,
        len(data),
        hashlib.sha256(data).hexdigest(),
        entry.url,
        entry.digest,
    )
    note = folder / f"{entry.name}.json"
    draft = folder / f"{entry.name}.json.part"
    draft.write_text(json.dumps(asdict(known), indent=1) + "\n", encoding="utf-8")
    note.unlink(missing_ok=True)  # between the two moves nothing must look finished
    path = folder / known.file
    part.replace(path)
    draft.replace(note)
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the cache for one process, which the system takes back when that process ends.

    Creates the folder. Raises ModelError when another process holds it or it is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / LOCK).open("a+b")
    except OSError as error:
        raise unwritable(folder, error) from error
    with handle:
        try:
            filelock.take(handle)
        except filelock.TAKEN:
            raise ModelError(
                f"cache {folder}: another engines pull is at work; wait until it is done"
            ) from None
        except OSError as error:
            raise unwritable(folder, error) from error
        yield


def unwritable(folder: Path, error: OSError, how: str = "written") -> ModelError:
    reason = error.strerror or str(error)
    return ModelError(f"cache {folder}: cannot be {how}: {reason}; {VARIABLE} names another place")


def files(folder: Path) -> list[Path]:
    """All that pull and TensorRT have put into the folder, by name, the lock left out."""
    names = set(PUBLISHED)
    for note in folder.glob("*.json"):
        if manifest(note.stem, folder):  # also of weights that a later registry does not name
            names.add(note.stem)
    endings = (
        *SUFFIXES,
        ".json",
        ".json.part",
        ".part",
        ".import.part",
        ".import.part.part",
        ".resume",
    )
    paths = [folder / (name + ending) for name in names for ending in endings]
    paths += plan_cache.files(folder / plan_cache.FOLDER)
    return sorted(path for path in paths if path.is_file() or path.is_symlink())


def sizes(folder: Path) -> dict[Path, int]:
    """The bytes of each of files, of links themselves. Raises ModelError."""
    found = {}
    try:
        for path in files(folder):
            with suppress(FileNotFoundError):  # a pull goes on meanwhile
                found[path] = path.lstat().st_size
    except OSError as error:
        raise unwritable(folder, error, "read") from error
    return found


def clear(folder: Path) -> int:
    """Delete all that pull and TensorRT have put into the folder; the number of files. The file of
    the lock stays: whoever made a new one could hold it beside those who have this one. Raises
    ModelError."""
    try:
        if not folder.is_dir():
            return 0
    except OSError as error:
        raise unwritable(folder, error, "read") from error
    with locked(folder):
        plans = folder / plan_cache.FOLDER
        try:
            found = files(folder)
            for path in found:
                path.unlink()
            if plans.is_dir() and not any(plans.iterdir()):
                plans.rmdir()
        except OSError as error:
            raise unwritable(folder, error) from error
    return len(found)
