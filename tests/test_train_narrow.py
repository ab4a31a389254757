"""Learning from narrow crops: of whom, when, and what of maps and crops belongs together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (posestream[train])")
pytest.importorskip("onnx", reason="model files need onnx (posestream[train])")

from engines.identify import identify  # noqa: E402
from realtime.errors import UsageError  # noqa: E402
from train import narrow  # noqa: E402
from train.batches import stack  # noqa: E402
from train.config import Config  # noqa: E402
from train.demo_data import write_set  # noqa: E402
from train.pose import PoseTask  # noqa: E402
from train.written import described, write  # noqa: E402

WH = (96, 128)
CONFIG = Config("pose", input_wh=WH, batch=4, narrow=0.5)


def sample(*x: float) -> dict[str, np.ndarray]:
    joints = np.zeros((17, 2), np.float32)
    visible = np.zeros(17, np.float32)
    joints[: len(x), 0], visible[: len(x)] = x, 1
    return {"joints": joints, "visible": visible}


def chosen(one: dict[str, np.ndarray], count: int = 400) -> np.ndarray:
    return np.array([narrow.chosen(one, CONFIG, 3, n) for n in range(count)])


def test_whole_steps_are_narrow_as_often_as_asked() -> None:
    steps = chosen(sample(18, 77.9)).reshape(100, 4)
    assert (steps == steps[:, :1]).all()
    assert 35 <= steps[:, 0].sum() <= 65
    assert narrow.chosen(sample(48), replace(CONFIG, narrow=1.0), 0, 0) == 1


@pytest.mark.parametrize("x", [(17.9, 48), (48, 78), ()])
def test_who_has_a_joint_at_the_sides_or_none_is_never_learned_so(x: tuple[float, ...]) -> None:
    assert not chosen(sample(*x)).any()


def test_crops_and_columns_of_maps_belong_together() -> None:
    crops = torch.arange(96)[None, None, :, None].expand(3, 128, 96, 3).byte()
    batch = {"crop": crops, "clean": crops, "narrow": torch.tensor([0.0, 1.0, 1.0])}
    kept, columns = narrow.narrowed(batch, WH)
    assert kept["crop"].shape == (2, 128, 64, 3) and kept["clean"].shape == (2, 128, 96, 3)
    assert (kept["crop"][0, 0, 0, 0], kept["crop"][0, 0, -1, 0]) == (16, 79)
    assert (columns.start * 4, columns.stop * 4) == (16, 80)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of the demo scene: 4 pictures, 2 people each."""
    folder = tmp_path_factory.mktemp("people")
    write_set(folder, images=4, people=2, size_wh=(320, 240), seed=3, suffix="png")
    return str(folder / "people.json")


def test_a_narrow_step_learns_from_slim_people_alone(people: str) -> None:
    """Its loss is that of the narrow crops of those, and one without any is as ever."""
    task = PoseTask(replace(CONFIG, data=(people,), narrow=1.0, amp="off"))
    batch = stack([task.sample(0, n) for n in range(len(task))])
    slim = batch["narrow"] > 0
    assert 0 < slim.sum() < len(slim), "the data set shows both"
    given: list[torch.Tensor] = []

    def net(crops: torch.Tensor) -> torch.Tensor:
        given.append(crops)
        return torch.zeros(len(crops), 17, crops.shape[1] // 4, crops.shape[2] // 4)

    task.loss(net, batch)  # type: ignore[arg-type]
    torch.testing.assert_close(given[0], batch["crop"][slim][:, :, 16:80])
    task.loss(net, {**batch, "narrow": torch.zeros(len(slim))})  # type: ignore[arg-type]
    assert given[1].shape == batch["crop"].shape


def test_targets_of_narrow_crops_are_at_the_joints(people: str) -> None:
    """The loss is 0 for a network that draws peaks where the joints are in the narrow crop."""
    config = replace(CONFIG, data=(people,), narrow=1.0, amp="off")
    task = PoseTask(config)
    batch = stack([task.sample(0, n) for n in range(len(task))])
    from train.targets import heatmaps

    slim = batch["narrow"] > 0
    inside = batch["joints"][slim] - torch.tensor([16.0, 0.0])
    maps = heatmaps(inside, (64, 128), config.sigma, batch["visible"][slim])
    right, _ = task.loss(lambda crops: maps, batch)  # type: ignore[arg-type]
    wrong, _ = task.loss(lambda crops: maps.roll(1, 3), batch)  # type: ignore[arg-type]
    assert float(right) == pytest.approx(0, abs=1e-9)
    assert float(wrong) > 1e-3


def test_what_has_learned_them_says_so_wherever_it_is_written(tmp_path: Path) -> None:
    from train.pose_net import PoseNet
    from train.weights import load_weights

    weights = dict(PoseNet().net.state_dict())
    for share in (0.0, 0.3):
        about = {"task": "pose", "input_wh": WH, "sigma": 2.0, "padding": 1.1, "narrow": share}
        for name in ("a.onnx", "a.safetensors"):
            write(weights, about, tmp_path / name, "never")
            _, known = load_weights(tmp_path / name)
            assert known["narrow"] is (share > 0)
            assert described(known, tmp_path / name)["narrow"] == float(share > 0)
        assert identify(tmp_path / "a.onnx").narrow is (share > 0)


@pytest.mark.parametrize(("theirs", "mine"), [(0.3, 0.0), (0.3, 0.5), (0.0, 0.0)])
def test_going_on_without_them_is_told(
    theirs: float, mine: float, people: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from train.pose_net import PoseNet

    about = {"task": "pose", "input_wh": WH, "sigma": 2.0, "padding": 1.25, "narrow": theirs}
    start = tmp_path / "start.safetensors"
    write(dict(PoseNet().net.state_dict()), about, start, "never")
    PoseTask(replace(CONFIG, data=(people,), start=str(start), narrow=mine)).network()
    told = f"start {start}: has learned narrow crops; --narrow 0.5 keeps them"
    assert (told in caplog.messages) is (theirs > mine == 0)


@pytest.mark.parametrize("wrong", [{"hint_weight": 1.0, "teacher": "t"}, {"input_wh": (64, 64)}])
def test_what_cannot_be_learned_so_is_told(wrong: dict[str, object], people: str) -> None:
    with pytest.raises(UsageError, match="--narrow: "):
        PoseTask(replace(CONFIG, data=(people,), **wrong))  # type: ignore[arg-type]
