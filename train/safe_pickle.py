"""Checkpoints that are pickles, read without running what they hold.

Only through ``torch.load(weights_only=True)``, whose unpickler builds tensors and plain containers
and calls nothing else. What it refuses stays refused: there is no other way in.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from engines.identify import read
from realtime.errors import ModelError

HARMLESS = re.compile(r"collections\.OrderedDict|torch\.\w+|torch\._utils\._rebuild_\w+")
"""Globals that a checkpoint of plain tensors names."""
ADVICE = "only tensors in plain containers are read; export it to safetensors where you trust it"


def load(path: Path) -> Any:
    """What torch.save wrote to path, tensors on the CPU; zip and legacy files.

    Raises ModelError for a file that is missing, damaged or no checkpoint, and for one that needs
    more than tensors and plain containers, with the name of what it asked for.
    """
    data = read(path)
    _look(path, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old storage types and TorchScript
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in more ways than can be listed
        if name := _refused(data, str(error)):
            raise ModelError(f"model {path}: refused, it asks for {name}; {ADVICE}") from error
        raise ModelError(
            f"model {path}: not a complete PyTorch checkpoint; get it again"
        ) from error


def globals_in(data: bytes) -> list[str]:
    """The "module.name" of everything the pickles in a checkpoint would import, in file order.

    The operations are read, not run. A name that is put together from a stack this reader does
    not follow is "?". A damaged file gives the names before the damage.
    """
    names: list[str] = []
    for stream in _pickles(data):
        strings: list[str] = []
        memo: dict[int, str] = {}
        try:
            for operation, argument, _ in pickletools.genops(stream):
                _follow(operation.name, argument, strings, memo, names)
        except (ValueError, EOFError, UnicodeDecodeError, OverflowError):
            continue
    return list(dict.fromkeys(names))


def _follow(
    name: str, argument: Any, strings: list[str], memo: dict[int, str], names: list[str]
) -> None:
    """Note an import, and the strings from which STACK_GLOBAL takes its two names."""
    if name in ("GLOBAL", "INST"):
        names.append(str(argument).replace(" ", "."))
    elif name == "STACK_GLOBAL":
        names.append(".".join(strings[-2:]) if len(strings) > 1 else "?")
    elif name in ("PUT", "BINPUT", "LONG_BINPUT") and strings:
        memo[int(argument)] = strings[-1]
    elif name == "MEMOIZE" and strings:
        memo[len(memo)] = strings[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        strings.append(memo.get(int(argument), "?"))
    elif isinstance(argument, str):
        strings.append(argument)


def _pickles(data: bytes) -> Iterator[io.BytesIO]:
    """The pickle of a zip checkpoint, or those that follow each other in a legacy one."""
    if data[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for name in archive.namelist():
                    if name.endswith(".pkl") and archive.getinfo(name).file_size < 1 << 28:
                        yield io.BytesIO(archive.read(name))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
            return
        return
    stream = io.BytesIO(data)
    while (at := stream.tell()) < len(data):
        yield stream
        if stream.tell() == at:
            return


def _refused(data: bytes, message: str) -> str:
    """The import for which a checkpoint was refused, "" where that was not the reason."""
    if "TorchScript" in message:
        return "TorchScript, which is a program"
    if found := re.search(r"GLOBAL (\S+)", message):
        return "".join(c if c.isprintable() else "?" for c in found[1][:200])
    names = (name for name in globals_in(data) if not HARMLESS.fullmatch(name))
    return next((name[:200] for name in names if re.fullmatch(r"[\w.]+|\?", name)), "")


def _look(path: Path, data: bytes) -> None:
    """Raise ModelError for what is plainly no checkpoint."""
    if not data:
        raise ModelError(f"model {path}: an empty file; get it again")
    if data[:512].lstrip()[:1] == b"<":
        raise ModelError(f"model {path}: a web page, not a checkpoint (a failed download?)")
