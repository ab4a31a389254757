"""TensorRT plans kept in the user's cache, each beside a note of exactly what it was made for.

A plan is machine code for one GPU and one version of TensorRT, and TensorRT does not notice
damage in its body, so a plan is used only when everything in the note is as it is now and the
SHA-256 of the plan is the one noted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from engines.base import Json

SCHEMA = 1
FOLDER = "tensorrt"
"""Where plans lie in the user's cache."""
NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}\.(plan|json)")
"""What their names begin with: the network, the GPU."""


def load(folder: Path, key: Json) -> bytes | None:
    """The plan made for exactly key; None where there is none, or one that differs or is
    damaged."""
    plan, note = _paths(folder, key)
    try:
        known = json.loads(note.read_bytes())
        data = plan.read_bytes()
    except (OSError, ValueError, RecursionError):
        return None
    expected = {**_row(key), "plan_sha256": hashlib.sha256(data).hexdigest()}
    if not isinstance(known, dict) or {name: known.get(name) for name in expected} != expected:
        return None
    return data


def store(folder: Path, key: Json, plan: bytes, facts: Json) -> Path:
    """Keep a plan with its note, key and facts; only the owner may enter the folder. The plan's
    path. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    path, note = _paths(folder, key)
    told = {**facts, **_row(key), "plan_sha256": hashlib.sha256(plan).hexdigest()}
    note.unlink(missing_ok=True)  # between the two moves the old note must not vouch for the plan
    _write(path, plan)
    _write(note, json.dumps(told, indent=1).encode() + b"\n")
    return path


def files(folder: Path) -> list[Path]:
    """All plans and notes in the folder, and what was left half written; by name."""
    kept = [path for ending in (".plan", ".json", ".part") for path in folder.glob(f"*{ending}")]
    return sorted(path for path in kept if NAME.match(path.name))


def _row(key: Json) -> Json:
    row: Json = json.loads(json.dumps({**key, "schema": SCHEMA}))
    return row


def _paths(folder: Path, key: Json) -> tuple[Path, Path]:
    """One name for each network and GPU, so that what is outdated is replaced, not piled up."""
    place = hashlib.sha256(str(key.get("gpu")).encode()).hexdigest()[:8]
    name = f"{str(key.get('network'))[:16]}-{place}"
    return folder / f"{name}.plan", folder / f"{name}.json"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
