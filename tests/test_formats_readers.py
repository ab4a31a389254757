"""The data formats as programs read them that were not written here."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_formats_files import people, posed, scene, target, write

from realtime.angles import ANGLES, joint_angles
from realtime.formats.openpose import BODY_25, to_body_25
from realtime.formats.registry import About
from realtime.records import PosedFrame, Poses
from realtime.skeleton import JOINTS

ITEMS = scene()
PEOPLE = [(item, k) for item in ITEMS for k in range(len(item.poses))]
ANGLED = About("walk.mp4", angles=True)


def test_pandas_reads_tidy_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    to = target(tmp_path, "csv")
    write(to, ITEMS, ANGLED)
    table = pandas.read_csv(to.path)
    assert list(table.columns) == [
        "frame", "time", "id", "score", "box_x0", "box_y0", "box_x1", "box_y1", "joint", "x", "y",
        "joint_score", "angle",
    ]  # fmt: skip
    assert len(table) == 17 * len(PEOPLE)
    assert table["id"].dtype == np.int64 and table["time"].dtype == np.float64
    knee = table[(table["id"] == 3) & (table["joint"] == "left_knee")].set_index("frame")
    assert list(knee.index) == [0, 5]
    poses = ITEMS[3].poses
    assert knee.loc[5, "x"] == pytest.approx(poses.joints_xy[0, 13, 0], abs=5.1e-3)
    assert knee.loc[5, "time"] == pytest.approx(ITEMS[3].frame.time, abs=1e-6)
    assert table[table["joint"] == "nose"]["angle"].isna().all()
    angles = np.concatenate([joint_angles(item.poses).ravel() for item in ITEMS])
    found = table[table["joint"].isin(ANGLES)]["angle"]
    assert np.allclose(np.sort(found), np.sort(angles), 0, 0.051, equal_nan=True)


def test_pandas_reads_wide_csv(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    to = target(tmp_path, "csv-wide")
    write(to, ITEMS, ANGLED)
    table = pandas.read_csv(to.path)
    assert len(table) == len(PEOPLE) and len(table.columns) == 8 + 3 * 17 + 8
    for (item, k), (_, row) in zip(PEOPLE, table.iterrows(), strict=True):
        assert row["frame"] == item.frame.index and row["id"] == item.poses.ids[k]
        for j, name in enumerate(JOINTS):
            found = row[[f"{name}_x", f"{name}_y"]].to_numpy(float)
            assert np.allclose(found, item.poses.joints_xy[k, j], 0, 5.1e-3)
        angles = row[[f"{name}_angle" for name in ANGLES]].to_numpy(float)
        assert np.allclose(angles, joint_angles(item.poses)[k], 0, 0.051, equal_nan=True)


def test_scipy_reads_mat_as_matlab_would(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    to = target(tmp_path, "mat")
    write(to, ITEMS, ANGLED)
    arrays = scipy_io.loadmat(to.path)
    shapes = {
        "frame": (5, 1), "time": (5, 1), "people": (5, 1), "person_frame": (6, 1),
        "person_time": (6, 1), "id": (6, 1), "score": (6, 1), "box": (6, 4),
        "joints": (6, 17, 2), "joint_scores": (6, 17), "joint_names": (17, 1),
        "angles": (6, 8), "angle_names": (8, 1),
    }  # fmt: skip
    assert {k: v.shape for k, v in arrays.items() if not k.startswith("__")} == shapes
    assert [str(name[0][0]) for name in arrays["joint_names"]] == list(JOINTS)
    assert arrays["id"].dtype == np.float64 and arrays["joints"].dtype == np.float32
    everybody = np.concatenate([item.poses.joints_xy for item in ITEMS])
    assert np.array_equal(arrays["joints"], everybody)
    assert arrays["person_time"].ravel().tolist() == [item.frame.time for item, _ in PEOPLE]


def test_octave_reads_whole_names(tmp_path: Path) -> None:
    octave = shutil.which("octave-cli") or shutil.which("octave")
    if octave is None:
        pytest.skip("needs Octave")
    names, to = ["Zoë 走.png", "a.png"], target(tmp_path, "mat")
    items = [posed(i, i / 30, Poses.empty(), name) for i, name in enumerate(names)]
    write(to, items, About("folder", with_file=True))
    script = f"x = load('{to.path}'); printf('%s\\n', x.file_name{{:}});"
    done = subprocess.run([octave, "--norc", "--no-gui", "--eval", script], capture_output=True)
    assert done.stdout.decode().splitlines() == names, done.stderr


def test_numpy_reads_npz(tmp_path: Path) -> None:
    to = target(tmp_path, "npz")
    write(to, ITEMS, ANGLED)
    with np.load(to.path, allow_pickle=False) as arrays:
        assert arrays["frame"].tolist() == [0, 1, 2, 5, 6]
        assert arrays["people"].tolist() == [2, 0, 1, 3, 0]
        assert arrays["id"].tolist() == [3, 0, 0, 3, 7, 0]
        assert arrays["joint_names"].tolist() == list(JOINTS)
        angles = np.concatenate([joint_angles(item.poses) for item in ITEMS])
        assert np.array_equal(arrays["angles"], angles, equal_nan=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_pycocotools_loads_and_scores_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    eval_module = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(7)
    items = [posed(i, float(i), people(rng, [-1, -1]), f"{139 + i:012d}.jpg") for i in range(4)]
    to = target(tmp_path, "coco")
    write(to, items, About("val", with_file=True))
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(_truth(items)))
    coco = coco_module.COCO(str(truth))
    results = coco.loadRes(str(to.path))
    assert sorted(results.getImgIds()) == [139, 140, 141, 142] and len(results.anns) == 8
    task = eval_module.COCOeval(coco, results, "keypoints")
    task.evaluate()
    task.accumulate()
    task.summarize()
    capsys.readouterr()
    assert task.stats[0] == pytest.approx(1)


def _truth(items: list[PosedFrame]) -> dict[str, Any]:
    """Annotations that the people of the items fit exactly."""
    annotations = []
    for item in items:
        for k in range(len(item.poses)):
            x0, y0, x1, y1 = item.poses.boxes_xyxy[k].tolist()
            points = [[x, y, 2] for x, y in item.poses.joints_xy[k].tolist()]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(Path(item.frame.source).stem),
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": 20000.0,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "num_keypoints": 17,
                    "keypoints": [value for point in points for value in point],
                }
            )
    images = [{"id": int(Path(item.frame.source).stem)} for item in items]
    person = {"id": 1, "name": "person", "keypoints": list(JOINTS), "skeleton": []}
    return {"images": images, "annotations": annotations, "categories": [person]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_pose_format_reads_an_openpose_folder(tmp_path: Path) -> None:
    """Its module has escapes in a string that Python warns of when it compiles it."""
    openpose = pytest.importorskip("pose_format.utils.openpose")
    to = target(tmp_path, "openpose")
    write(to, ITEMS)
    found = openpose.load_openpose_directory(str(to.path), fps=30, width=2000, height=2000)
    names = found.header.components[0].points
    assert [name.lower() for name in names] == [_as_openpose(name) for name in BODY_25]
    points, scores = found.body.data, found.body.confidence
    assert points.shape[:2] == (7, 3)  # frames by their numbers, people
    for item, k in PEOPLE:
        body = to_body_25(item.poses)[k]
        seen, sure = points[item.frame.index, k, :25], scores[item.frame.index, k, :25]
        known = body[:, 2] > 5.1e-5
        assert np.allclose(sure, body[:, 2], 0, 5.1e-5)
        assert np.allclose(seen.data[known], body[known, :2], 0, 5.2e-3)
        assert seen.mask[19:].all() and not seen.mask[:19][known[:19]].any()  # no feet


def _as_openpose(name: str) -> str:
    """left_big_toe as lbigtoe."""
    return name.replace("left_", "l").replace("right_", "r").replace("_", "")


def test_a_trc_reader_reads_trc(tmp_path: Path) -> None:
    """The package trc-data-reader; it cannot read empty cells, so all joints are there."""
    trc = pytest.importorskip("trc")
    poses = people(np.random.default_rng(8), [4])
    poses.joint_scores[0] = 1
    to = target(tmp_path, "trc")
    write(to, [posed(i, 1.5 + i / 25, poses) for i in range(5)])
    data = trc.TRCData()
    data.load(str(to.path))
    assert (data["NumFrames"], data["NumMarkers"], data["DataRate"]) == (5, 17, 25.0)
    assert data["Markers"][5:7] == ["LShoulder", "RShoulder"]
    assert data[3][0] == pytest.approx(1.62)
    x, y = poses.joints_xy[0, JOINTS.index("right_knee")].tolist()
    assert data["RKnee"][3] == pytest.approx([x, y, 0], abs=5.1e-3)


def test_pandas_reads_trc_as_pose2sim_does(tmp_path: Path) -> None:
    """Tabs, 4 lines skipped, marker names in the line before, as Pose2Sim.common.read_trc."""
    pandas = pytest.importorskip("pandas")
    poses = people(np.random.default_rng(8), [4])
    poses.joint_scores[0] = 1
    poses.joint_scores[0, JOINTS.index("left_wrist")] = 0.1
    to = target(tmp_path, "trc")
    write(to, [posed(i, 1.5 + i / 25, poses if i != 2 else Poses.empty()) for i in range(5)])
    markers = to.path.read_text().splitlines()[3].split("\t")[2::3]
    table = pandas.read_csv(to.path, sep="\t", skiprows=4)
    points = table.drop(columns=table.columns[:2])
    assert points.shape == (5, 51) and len(markers) == 17
    assert table.iloc[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert table.iloc[:, 1].tolist() == pytest.approx([1.5, 1.54, 1.58, 1.62, 1.66])
    k = markers.index("LWrist")
    assert points[f"X{k + 1}"].isna().all()
    k = markers.index("RKnee")
    expected = poses.joints_xy[0, JOINTS.index("right_knee")]
    found = points[[f"X{k + 1}", f"Y{k + 1}"]].to_numpy()
    assert np.allclose(found[[0, 1, 3, 4]], expected, 0, 5.1e-3) and np.isnan(found[2]).all()
