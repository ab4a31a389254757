"""What can be told of an image without decoding it: its size, so that a huge one is refused, and
whether it is whole and the only one in its file."""

from __future__ import annotations

import zlib
from collections.abc import Callable

Size = tuple[int, int]

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
"""What every JPEG begins with, whatever its file is called."""


def image_size(data: bytes) -> Size | None:
    """Width and height in stored pixels (before any orientation) of a JPEG, PNG, BMP, WebP or
    TIFF image; None for anything else, also when it ends within its header."""
    try:
        for magic, reader in _READERS:
            if data.startswith(magic):
                size = reader(data)
                return size if size is not None and min(size) > 0 else None
    except IndexError:
        pass
    return None


def is_broken_png(data: bytes) -> bool:
    """Whether this is a PNG file that ends too early or whose pixels are not those that were
    written (PNG specification, 5.3): libpng writes a line to standard error about each."""
    if not data.startswith(PNG):
        return False
    start = len(PNG)
    try:
        while (kind := _part(data, start + 4, 4)) != b"IEND":
            body = _part(data, start + 4, 4 + _big(data, start, 4))
            start += 8 + len(body)
            if kind in (b"IHDR", b"PLTE", b"IDAT") and zlib.crc32(body) != _big(data, start - 4, 4):
                return True
        return len(data) < start + 12
    except IndexError:
        return True


def has_more(data: bytes) -> bool:
    """Whether a PNG, WebP or TIFF file holds further pictures, of an animation or a stack; not
    those that show the first one smaller."""
    try:
        if data.startswith(b"RIFF"):
            return data[12:16] == b"VP8X" and bool(data[20] & 2)  # RFC 9649, section 2.7.1
        if data.startswith(PNG):
            return (
                data.find(b"acTL", 33, data.find(b"IDAT")) > 0
            )  # an animation's chunk comes first
        if data.startswith((b"II*\0", b"MM\0*")):
            read = _little if data.startswith(b"II") else _big
            first = read(data, 4, 4)
            second = read(data, first + 2 + 12 * read(data, first, 2), 4)
            # NewSubfileType (TIFF 6.0, section 8): 1 smaller, 4 a mask
            return bool(second) and not _tags(data, second, read).get(254, 0) & 5
    except IndexError:
        pass
    return False


def _little(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(_part(data, start, size), "little")


def _big(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(_part(data, start, size), "big")


def _part(data: bytes, start: int, size: int) -> bytes:
    if start + size > len(data):
        raise IndexError("the image ends within its header")
    return data[start : start + size]


def _png(data: bytes) -> Size:
    """IHDR comes first (PNG specification, 11.2.1)."""
    return _big(data, 16, 4), _big(data, 20, 4)


def _jpeg(data: bytes) -> Size | None:
    """The first frame header, SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, B.2.2)."""
    start = 2
    while True:
        while data[start] != 0xFF:
            start += 1
        marker = data[start + 1]
        if marker == 0xFF:  # a fill byte
            start += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(data, start + 7, 2), _big(data, start + 5, 2)
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # without a length
            start += 2
        elif marker in (0xD9, 0xDA):  # the end, or pixels without a size
            return None
        else:
            start += 2 + _big(data, start + 2, 2)


def _bmp(data: bytes) -> Size:
    """BITMAPCOREHEADER has 2-byte sizes, all later headers 4 bytes, height negative from the
    top."""
    if _little(data, 14, 4) == 12:
        return _little(data, 18, 2), _little(data, 20, 2)
    return _little(data, 18, 4), abs(int.from_bytes(_part(data, 22, 4), "little", signed=True))


def _webp(data: bytes) -> Size | None:
    """RFC 9649, sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    return None


def _tiff(data: bytes) -> Size | None:
    """Tags 256 and 257 of the first directory (TIFF 6.0, section 2)."""
    read = _little if data.startswith(b"II") else _big
    found = _tags(data, read(data, 4, 4), read)
    return (found[256], found[257]) if {256, 257} <= found.keys() else None


def _tags(data: bytes, directory: int, read: Callable[[bytes, int, int], int]) -> dict[int, int]:
    """The numbers in a TIFF directory by their tags."""
    found: dict[int, int] = {}
    for number in range(read(data, directory, 2)):
        entry = directory + 2 + 12 * number
        short = read(data, entry + 2, 2) == 3
        found[read(data, entry, 2)] = read(data, entry + 8, 2 if short else 4)
    return found


_READERS: tuple[tuple[bytes, Callable[[bytes], Size | None]], ...] = (
    (PNG, _png),
    (JPEG, _jpeg),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
)
