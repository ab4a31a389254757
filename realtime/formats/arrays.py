"""NPZ and MAT: the same arrays, for numpy and for MATLAB or Octave.

F frames, P people over all frames: frame, time, people (F,): number, seconds and how many people.
person_frame, person_time, id, score (P,); box (P, 4): x0, y0, x1, y1; joints (P, 17, 2): x, y;
joint_scores (P, 17); joint_names (17,). With --angles: angles (P, 8) in degrees, nan where not
known, and angle_names (8,). For folders of images: file_name (F,). Numbers are as precise as they
are inside. In MAT all vectors are columns, numbers of frames and ids are double, names are cells.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from realtime.angles import ANGLES, joint_angles
from realtime.errors import InputError
from realtime.formats.files import Spool
from realtime.formats.rows import Loaded, LoadedFrame, finite
from realtime.records import PosedFrame, Poses
from realtime.skeleton import JOINT_COUNT, JOINTS

Arrays = dict[str, Any]
FRAME = np.dtype([("frame", "i8"), ("time", "f8"), ("people", "i8")])
PERSON = np.dtype(
    [
        ("person_frame", "i8"),
        ("person_time", "f8"),
        ("id", "i8"),
        ("score", "f4"),
        ("box", "f4", (4,)),
        ("joints", "f4", (JOINT_COUNT, 2)),
        ("joint_scores", "f4", (JOINT_COUNT,)),
        ("angles", "f4", (len(ANGLES),)),
    ]
)


class ArrayForm:
    """A Form; save writes the finished arrays. spools: for people, frames and file names."""

    def __init__(
        self,
        spools: tuple[Spool, ...],
        save: Callable[[BinaryIO, Arrays], None],
        with_file: bool,
        angles: bool,
    ) -> None:
        self.spools = spools
        self._save, self._with_file, self._angles = save, with_file, angles

    def add(self, item: PosedFrame) -> None:
        poses, frame = finite(item.poses), item.frame
        rows = np.zeros(len(poses), PERSON)
        rows["person_frame"], rows["person_time"] = frame.index, frame.time
        rows["id"], rows["score"], rows["box"] = poses.ids, poses.scores, poses.boxes_xyxy
        rows["joints"], rows["joint_scores"] = poses.joints_xy, poses.joint_scores
        if self._angles:
            rows["angles"] = joint_angles(poses, aspect=frame.aspect)
        people, frames, names = self.spools
        people.write(rows.tobytes())
        frames.write(np.array((frame.index, frame.time, len(poses)), FRAME).tobytes())
        if self._with_file:
            name = frame.source.encode("utf-8", "backslashreplace").decode()
            names.write(json.dumps(name).encode() + b"\n")  # which may have more lines than one

    def finish(self, out: BinaryIO) -> list[str]:
        people, frames, names = self.spools
        arrays: Arrays = {}
        for spool, dtype in ((frames, FRAME), (people, PERSON)):
            rows = spool.rows(dtype)
            arrays |= {name: rows[name] for name in dtype.names or ()}
        if not self._angles:
            del arrays["angles"]
        else:
            arrays["angle_names"] = np.array(ANGLES)
        arrays["joint_names"] = np.array(JOINTS)
        if self._with_file:
            arrays["file_name"] = np.array([json.loads(line) for line in names.lines()])
        self._save(out, arrays)
        return []


def save_npz(out: BinaryIO, arrays: Arrays) -> None:
    np.savez(out, **arrays)


def save_mat(out: BinaryIO, arrays: Arrays) -> None:
    """MAT version 5, which holds at most 4 GiB in one array. Raises ValueError beyond that."""
    import scipy.io
    from scipy.io.matlab import MatWriteError

    file: Any = out  # the stubs know names of files only
    others = {key: _for_mat(v) for key, v in arrays.items() if key != "file_name"}
    try:
        scipy.io.savemat(file, others, oned_as="column")
    except MatWriteError as error:
        raise ValueError(f"too long a run for MAT ({error}); use NPZ") from error
    if (names := arrays.get("file_name")) is not None:
        texts = b"".join(_mat_array(4, (1, len(text)), "", _utf16(text)) for text in names)
        out.write(_mat_array(1, (len(names), 1), "file_name", texts))


def _mat_array(kind: int, shape: tuple[int, int], name: str, content: bytes) -> bytes:
    """A cell array (kind 1) or a text (4), as in MathWorks' MAT-File Format, version 5."""
    head = _element(6, struct.pack("<2I", kind, 0)) + _element(5, struct.pack("<2i", *shape))
    return _element(14, head + _element(1, name.encode()) + content)


def _utf16(text: str) -> bytes:
    """As Octave writes text; of UTF-8, which scipy writes, it loses the end where there is more
    than ASCII. With the length that scipy reads it loses a letter for each emoji."""
    return _element(17, text.encode("utf-16-le"))


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)


def _for_mat(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "U":
        return values.astype(object)
    return values.astype(np.float64) if values.dtype.kind == "i" else values


def load_npz(path: Path) -> Loaded:
    """The frames of an NPZ file. Raises InputError, OSError, ValueError."""
    if not zipfile.is_zipfile(path):  # numpy would ask to trust it, as a pickle
        raise ValueError("no zip archive, or one cut short")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _loaded(path, dict(arrays))


def load_mat(path: Path) -> Loaded:
    """The frames of a MAT file. Raises InputError, OSError."""
    import scipy.io
    from scipy.io.matlab import MatReadError

    try:
        arrays = scipy.io.loadmat(path)
    except MatReadError as error:
        raise ValueError(str(error)) from error
    shaped: Arrays = {
        name: arrays[name] for name in ("joints", "joint_scores", "box") if name in arrays
    }
    flat: Arrays = {k: v.reshape(-1) for k, v in arrays.items() if isinstance(v, np.ndarray)}
    if "file_name" in flat:
        flat["file_name"] = np.array([str(np.squeeze(name)) for name in flat["file_name"]])
    return _loaded(path, {**flat, **shaped})


def _loaded(path: Path, arrays: Arrays) -> Loaded:
    wanted = {*(FRAME.names or ()), *(PERSON.names or ())} - {"angles"}
    if missing := sorted(wanted - set(arrays)):
        raise InputError(f"{path}: the array {missing[0]} is not there")
    ends = np.cumsum(arrays["people"]).astype(int)
    count = int(ends[-1]) if len(ends) else 0
    poses = Poses(
        arrays["joints"].astype(np.float32).reshape(count, JOINT_COUNT, 2),
        arrays["joint_scores"].astype(np.float32).reshape(count, JOINT_COUNT),
        arrays["box"].astype(np.float32).reshape(count, 4),
        arrays["score"].astype(np.float32),
        arrays["id"].astype(np.int64),
    )
    names = arrays.get("file_name", np.full(len(ends), ""))
    starts = [0, *ends.tolist()][:-1]
    frames = [
        LoadedFrame(int(frame), float(time), poses[start:end], str(name))
        for frame, time, start, end, name in zip(
            arrays["frame"], arrays["time"], starts, ends.tolist(), names, strict=True
        )
    ]
    return Loaded(frames, "angles" in arrays)
