"""Whether a video file is shorter than its own headers say, or torn in the middle."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

_SEGMENT = 0x18538067  # RFC 9559, section 5.1: the element that holds all of a Matroska file
_EBML = 0x1A45DFA3

_BEGINNINGS = b"ftyp styp moov moof mdat wide free skip pnot uuid sidx".split()
"""Boxes with which mp4 and mov files begin; others have text there."""

_ENTERED = ("18538067", "1f43b675")
_PASSED = (
    "1a45dfa3 114d9b74 1549a966 1654ae6b 1c53bb6b 1941a469 1043a770 1254c367 ec bf"
    " e7 a3 a0 ab a7 5854 af"
).split()
"""The elements of Matroska's two upper levels (RFC 9559, section 5.1): those that hold others, the
segment and its clusters, and the others."""


def is_cut(path: Path) -> bool:
    """Whether a file ends before its headers say: mp4, mov, AVI, Matroska and WebM; False for
    other kinds and where the length was left open."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return 8 + int.from_bytes(head[4:8], "little") > size
        if int.from_bytes(head[:4], "big") == _EBML:
            return _segment_end(file) > size
    return any(start + length > size for _, start, length in boxes(path))


def is_torn(path: Path) -> bool:
    """Whether the parts of a Matroska or WebM file do not follow each other up to its end; False
    for other kinds. FFmpeg passes over what is between them without a word."""
    start, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while start < size:
            file.seek(start)
            kind, length = _identifier(file), _number(file)
            if not start and kind != f"{_EBML:x}":
                return False
            if kind in _ENTERED:
                start = file.tell()
            elif kind in _PASSED and length is not None:
                start = file.tell() + length
            else:
                return True
    return start > size


def boxes(path: Path) -> list[tuple[bytes, int, int]]:
    """Type, position and declared length of the outermost boxes of an mp4 or mov file (ISO/IEC
    14496-12, 4.2); what is not such a file gives none."""
    with path.open("rb") as file:
        return _boxes(file, path.stat().st_size)


def has_index_last(head: bytes) -> bool:
    """Whether an mp4 or mov file that begins with these bytes has its pictures before its index."""
    kinds = (kind for kind, _, _ in _boxes(BytesIO(head), len(head)))
    return next((kind for kind in kinds if kind in (b"moov", b"mdat")), b"") == b"mdat"


def _boxes(file: BinaryIO, size: int) -> list[tuple[bytes, int, int]]:
    found: list[tuple[bytes, int, int]] = []
    start = 0
    while start + 8 <= size and len(found) < 100_000:
        file.seek(start)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if not found and kind not in _BEGINNINGS:
            break
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - start
        if length < 8 or not kind.isalnum():
            break
        found.append((kind, start, length))
        start += length
    return found


def _segment_end(file: BinaryIO) -> int:
    """Where the Matroska segment should end, 0 when that was left open (RFC 8794, 4 and 5)."""
    file.seek(4)
    header = _number(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if int.from_bytes(file.read(4), "big") != _SEGMENT:
        return 0
    length = _number(file)
    return file.tell() + length if length is not None else 0


def _identifier(file: BinaryIO) -> str:
    """An element's identifier in hexadecimal digits."""
    first = file.read(1) or b"\0"
    return (first + file.read(8 - first[0].bit_length())).hex()


def _number(file: BinaryIO) -> int | None:
    """A variable-size integer of EBML; None when all its bits are set: unknown."""
    first = file.read(1) or b"\0"
    width = 9 - first[0].bit_length()  # bytes in all: one leading zero for each further byte
    bits = 7 * width
    value = int.from_bytes(first + file.read(width - 1), "big") & ((1 << bits) - 1)
    return value if value != (1 << bits) - 1 else None
