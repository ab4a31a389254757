"""What a model file says about itself, read without any backend and without running anything.

An ONNX file is a protocol buffer (https://onnx.ai/onnx/repo-docs/IR.html; field numbers from
onnx.proto), a safetensors file a JSON header and raw numbers
(https://github.com/huggingface/safetensors#format). Both are walked here by their lengths only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engines.base import Container

MAX_DEPTH = 32
MAX_HEADER = 64 << 20
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Message type -> field number -> type of the message in that field: all ways to a TensorProto.
NESTED = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
GRAPH_VALUES = 11, 12, 13
"""Input, output and what lies between; the types of these."""
VALUE_DIMENSION = 2, 1, 2, 1
"""The way from there: type, tensor, shape, dimension."""
MODEL_GRAPH, MODEL_METADATA, TENSOR_EXTERNAL, TENSOR_LOCATION = 7, 14, 13, 14


@dataclass
class Contents:
    """container, its key-value metadata, and whether weights lie in other files (ONNX)."""

    container: Container
    metadata: dict[str, str] = field(default_factory=dict)
    external_data: bool = False


def read(data: bytes) -> Contents:
    """What data is; raises ValueError with a short reason when it is no complete model file."""
    if not data:
        raise ValueError("an empty file")
    # A safetensors file begins with the length of its header, which can look like any of these.
    tensors = data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= MAX_HEADER
    if not tensors and (data[:2] == b"PK" or data[:1] == b"\x80"):
        raise ValueError(
            "a pickle or zip archive, which could run code and is never opened; export the network "
            "to ONNX or safetensors"
        )
    if not tensors and data[:512].lstrip()[:1] == b"<":
        raise ValueError("a web page or XML, not a model (a failed download?)")
    if data[8:9] == b"{":
        return _safetensors(data)
    return _onnx(data)


def _safetensors(data: bytes) -> Contents:
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER, len(data) - 8):
        raise ValueError("a safetensors file cut short or damaged")
    try:
        header = json.loads(data[8 : 8 + length])
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        whole = 8 + length + max(ends, default=0) == len(data)
        metadata = {str(k): str(v) for k, v in header.get("__metadata__", {}).items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError("a safetensors file with a damaged header") from error
    if not whole:
        raise ValueError("a safetensors file cut short or damaged")
    return Contents("safetensors", metadata)


def _onnx(data: bytes) -> Contents:
    found = Contents("onnx")
    try:
        numbers = _walk(memoryview(data), "model", found, 0)
    except ValueError as error:
        raise ValueError(f"not a complete ONNX or safetensors file ({error})") from error
    if MODEL_GRAPH not in numbers:
        raise ValueError("not an ONNX or safetensors file")
    return found


def _walk(message: memoryview, kind: str, found: Contents, depth: int) -> set[int]:
    """Visit all tensors under a message, note what matters in found; the fields that occur."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    numbers = set()
    for number, value in _fields(message):
        numbers.add(number)
        if kind == "model" and number == MODEL_METADATA:
            entry = {n: bytes(v).decode("utf-8") for n, v in _fields(value)}
            found.metadata[entry.get(1, "")] = entry.get(2, "")
        elif number in NESTED[kind]:
            _walk(value, NESTED[kind][number], found, depth + 1)
        elif kind == "tensor" and number in (TENSOR_EXTERNAL, TENSOR_LOCATION):
            found.external_data |= number == TENSOR_EXTERNAL or bytes(value) != b"\0"
    return numbers


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The ONNX file with these metadata entries in place of those of the same keys; all else
    stays byte by byte. Raises ValueError for what is no ONNX file."""
    if read(data).container != "onnx":
        raise ValueError("not an ONNX file")
    message, kept = memoryview(data), []
    for number, start, payload, end in _spans(message):
        entry = dict(_fields(message[payload:end])) if number == MODEL_METADATA else {}
        if bytes(entry.get(1, b"")).decode("utf-8") not in texts or not entry:
            kept.append(bytes(message[start:end]))
    # A field may be repeated anywhere in a message, so new ones go to the end.
    return b"".join([*kept, *(_entry(key, text) for key, text in texts.items())])


def with_free_sizes(data: bytes) -> bytes:
    """The ONNX file without what its graph says of the sizes of input, outputs and all between, but
    for the batch, which comes first. Raises ValueError for what is no ONNX file."""

    def free(message: memoryview, path: Sequence[int]) -> bytes:
        """With the fields at the end of this path of numbers emptied, but for the first."""
        parts, first = [], True
        for number, start, payload, end in _spans(message):
            kept = bytes(message[start:end])
            if number == path[0] and path[1:]:
                kept = _coded(number, free(message[payload:end], path[1:]))
            elif number == path[0]:
                kept, first = kept if first else _coded(number, b""), False
            parts.append(kept)
        return b"".join(parts)

    if read(data).container != "onnx":
        raise ValueError("not an ONNX file")
    for values in GRAPH_VALUES:
        data = free(memoryview(data), [MODEL_GRAPH, values, *VALUE_DIMENSION])
    return data


def _entry(key: str, text: str) -> bytes:
    parts = (_coded(1, key.encode()), _coded(2, text.encode()))
    return _coded(MODEL_METADATA, b"".join(parts))


def _coded(number: int, payload: bytes) -> bytes:
    """A field of bytes: its key, its length as a varint, itself."""
    size, length = len(payload), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | BYTES, *length, size]) + payload


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, payload) of every field of a protocol buffer message; a varint's payload
    is its bytes. Raises ValueError where the message is malformed."""
    for number, _, payload, end in _spans(message):
        yield number, message[payload:end]


def _spans(message: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(field number, where it starts, where its payload starts, its end) of every field."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        wire = key & 7
        if wire == VARINT:
            end = _varint(message, at)[1]
        elif wire == BYTES:
            length, at = _varint(message, at)
            end = at + length
        elif wire in (FIXED32, FIXED64):
            end = at + (4 if wire == FIXED32 else 8)
        else:
            raise ValueError("malformed")
        if end > len(message) or key < 8:
            raise ValueError("cut short or damaged")
        yield key >> 3, start, at, end
        at = end


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at a position and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("cut short")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("malformed")
