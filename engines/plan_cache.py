"""TensorRT plans kept in the user's cache, each beside a note of exactly what it was made for.

A plan is machine code for one GPU and one version of TensorRT, and TensorRT does not notice
damage in its body, so a plan is used only when everything in the note is as it is now and the
SHA-256 of the plan is the one noted. Of a plan that was refused only the note is kept, so that it
is not built again to be refused again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from engines import filelock
from engines.base import Json

SCHEMA = 1
"""Goes up where float16 graphs, plans or the comparison with float32 are made otherwise."""
FOLDER = "tensorrt"
"""Where plans lie in the user's cache."""
NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}\.(plan|json|lock)")
"""What their names begin with: the network, the GPU."""


def load(folder: Path, key: Json) -> bytes | None:
    """The plan made for exactly key; None where there is none, or one that differs or is
    damaged."""
    try:
        data = _paths(folder, key)[0].read_bytes()
    except OSError:
        return None
    noted = _known(folder, key).get("plan_sha256")
    return data if noted == hashlib.sha256(data).hexdigest() else None


def refusal(folder: Path, key: Json) -> str:
    """Why the plan made for exactly key was refused; empty where it was not."""
    return str(_known(folder, key).get("refused", ""))


def store(folder: Path, key: Json, plan: bytes, facts: Json) -> Path:
    """Keep a plan with its note, key and facts; only the owner may enter the folder. The plan's
    path. Raises OSError."""
    path, note = _cleared(folder, key)
    _write(path, plan)
    _write_note(note, key, {**facts, "plan_sha256": hashlib.sha256(plan).hexdigest()})
    return path


def refuse(folder: Path, key: Json, reason: str, facts: Json) -> None:
    """Keep a note that the plan made for key was refused, and no plan. Raises OSError."""
    path, note = _cleared(folder, key)
    path.unlink(missing_ok=True)
    _write_note(note, key, {**facts, "refused": reason})


@contextmanager
def building(folder: Path, key: Json, told: Callable[[], None]) -> Iterator[None]:
    """Nobody else, in this process or another, builds a plan of the network and GPU of key
    meanwhile; waits for whoever does, after calling told. Where files cannot be held, as on some
    network drives, or the folder cannot be written, everybody builds."""
    with ExitStack() as held:
        with suppress(OSError):
            _make(folder)
            handle = held.enter_context(_paths(folder, key)[0].with_suffix(".lock").open("a+b"))
            try:
                filelock.take(handle)
            except filelock.TAKEN:
                told()
                filelock.wait_for(handle)
        yield


def files(folder: Path) -> list[Path]:
    """All plans, notes and locks in the folder, and what was left half written; by name."""
    endings = ".plan", ".json", ".lock", ".part"
    kept = [path for ending in endings for path in folder.glob(f"*{ending}")]
    return sorted(path for path in kept if NAME.match(path.name))


def _known(folder: Path, key: Json) -> Json:
    """The note of exactly key; empty where there is none, or one that differs or is damaged."""
    try:
        known = json.loads(_paths(folder, key)[1].read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    row = _row(key)
    same = isinstance(known, dict) and {name: known.get(name) for name in row} == row
    return known if same else {}


def _cleared(folder: Path, key: Json) -> tuple[Path, Path]:
    """As _paths, in a folder that is there, the note removed: between the moves of the new files
    the old note must not vouch for either."""
    _make(folder)
    path, note = _paths(folder, key)
    note.unlink(missing_ok=True)
    return path, note


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _row(key: Json) -> Json:
    row: Json = json.loads(json.dumps({**key, "schema": SCHEMA}))
    return row


def _paths(folder: Path, key: Json) -> tuple[Path, Path]:
    """One name for each network and GPU, so that what is outdated is replaced, not piled up."""
    place = hashlib.sha256(str(key.get("gpu")).encode()).hexdigest()[:8]
    name = f"{str(key.get('network'))[:16]}-{place}"
    return folder / f"{name}.plan", folder / f"{name}.json"


def _write_note(note: Path, key: Json, facts: Json) -> None:
    _write(note, json.dumps({**facts, **_row(key)}, indent=1).encode() + b"\n")


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
