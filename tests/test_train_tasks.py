"""The two tasks: samples, targets, losses, and what a network that knows the truth gets."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from realtime import geometry
from realtime.detect import decode_centers
from realtime.errors import InputError, ModelError, UsageError
from realtime.skeleton import MIRROR
from train import pose_loss
from train.checkpoint import weights_bytes
from train.coco import open_set
from train.config import Config
from train.demo_data import write_set
from train.detector import OF_POSE, DetectorTask
from train.detector_data import GREY, _centre_targets, _targets, detector_sample
from train.detector_loss import (
    BOX_WEIGHT,
    JOINT_WEIGHT,
    box_loss,
    centre_loss,
    detector_loss,
    joint_loss,
)
from train.detector_net import DetectorTrainer, PersonDetector
from train.learner import Learner
from train.parallel import team
from train.pose import PoseTask
from train.sheet import shown_heat
from train.targets import heatmaps
from train.task import Sample

CHANGES = ("flip", "colour", "dark", "blur")
STILL = dict.fromkeys(CHANGES, 0.0)
"""For a detector."""


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of the demo scene: 4 pictures, 2 people each."""
    folder = tmp_path_factory.mktemp("people")
    write_set(folder, images=4, people=2, size_wh=(320, 240), seed=3, suffix="png")
    return str(folder / "people.json")


def pose_config(people: str, **others: object) -> Config:
    return Config("pose", data=(people,), val=(people,), input_wh=(96, 128), **others)  # type: ignore[arg-type]


def detector_config(people: str, **others: object) -> Config:
    return Config("detector", data=(people,), val=(people,), input_wh=(160, 128), **others)  # type: ignore[arg-type]


def batch(samples: list[Sample]) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.stack([s[k] for s in samples])) for k in samples[0]}


# ---- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [PoseTask, DetectorTask])
def test_samples_are_the_same_in_any_process(task: type, people: str) -> None:
    config = pose_config(people) if task is PoseTask else detector_config(people)
    one = task(config)
    other = pickle.loads(pickle.dumps(one))  # noqa: S301
    other.sample(0, 1)  # another order of asking
    for name, value in one.sample(3, 2).items():
        np.testing.assert_array_equal(value, other.sample(3, 2)[name])
    assert any((one.sample(3, 2)[n] != one.sample(4, 2)[n]).any() for n in one.sample(3, 2))


def test_data_is_needed() -> None:
    with pytest.raises(UsageError, match="--data"):
        PoseTask(Config("pose"))
    with pytest.raises(UsageError, match="--data"):
        DetectorTask(Config("detector"))
    with pytest.raises(UsageError, match="--teacher"):
        PoseTask(Config("pose", data=("a",), unlabelled=("b",)))
    with pytest.raises(UsageError, match="--window-wh"):
        Config("pose", window_wh=(64, 64))


# ---- pose ---------------------------------------------------------------------------------------


def test_a_network_that_knows_the_truth_has_ap_1(people: str) -> None:
    task = PoseTask(pose_config(people))

    class Knows(torch.nn.Module):
        """Gives the heatmaps of the people in the order in which they are asked about."""

        def __init__(self) -> None:
            super().__init__()
            self.dummy = torch.nn.Parameter(torch.zeros(1))
            self.asked = 0

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            everybody = open_set(people).people
            maps = []
            for n in range(len(crops)):
                person = everybody[(self.asked + n) % len(everybody)]
                box = geometry.crop_boxes(person.box_xyxy[None], (96, 128))
                affine = geometry.boxes_to_crop(box, (96, 128))[0]
                points = torch.from_numpy(geometry.apply(affine, person.joints[:, :2]))
                maps.append(heatmaps(points, (96, 128), 2.0))
            self.asked += len(crops)
            return torch.stack(maps)

    result = task.validate(Knows())
    assert result.best_by == "AP"
    assert result.numbers["AP"] > 0.99
    assert result.sheet.shape == (2 * 128, 6 * 2 * 96, 3)


def test_what_softmax_learned_is_shown_by_its_peaks() -> None:
    """Its scale is free: two joints, one at 40 and one at -3, are both to be seen."""
    heat = np.full((2, 16, 12), -9.0, np.float32)
    heat[0] += 30
    heat[0, 4, 5], heat[1, 12, 2] = 40, -3
    shown = shown_heat(heat, "softmax")
    assert shown[4, 5] == shown[12, 2] == 1
    assert np.sort(shown.ravel())[-3] < 0.01
    assert (shown_heat(heat, "mse") == heat.max(0)).all()


def test_the_loss_is_least_at_the_target(people: str) -> None:
    task = PoseTask(pose_config(people))
    samples = batch([task.sample(0, n) for n in range(4)])
    target = heatmaps(samples["joints"], (96, 128), 2.0, samples["visible"])

    def loss(out: torch.Tensor) -> float:
        return float(task.loss(lambda crops: out, samples)[0])  # type: ignore[arg-type]

    assert loss(target) == 0
    assert loss(target * 0.9) > 0
    assert loss(torch.zeros_like(target)) > loss(target * 0.5)
    # What is not labelled does not count.
    hidden = target + (1 - samples["visible"])[..., None, None]
    assert loss(hidden) == 0


def test_the_heatmap_loss_by_hand() -> None:
    out, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]])
    wanted = 100 * (1 * 5 + 0.25 * 3) / 4
    assert float(pose_loss.squared(out, target, 4.0)) == pytest.approx(wanted)
    each, weight = torch.tensor([[1.0, 7.0, 4.0]]), torch.tensor([[1.0, 0.0, 2.0]])
    assert float(pose_loss.weighted_mean(each, weight)) == pytest.approx(9 / 3)


@pytest.mark.parametrize("name", ["mse", "softmax"])
def test_gradients_of_heatmap_losses(name: str) -> None:
    rng = torch.Generator().manual_seed(0)
    out = torch.rand(2, 3, 6, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 3, 6, 5, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda o: pose_loss.LOSSES[name](o, target, 4.0), (out,))


def test_a_teacher_speaks_where_labels_are_silent(people: str) -> None:
    task = PoseTask(pose_config(people, teacher="asked.onnx"))
    samples = batch([task.sample(0, n) for n in range(2)])
    truth = samples["joints"].clone()
    known = samples["visible"].clone()
    samples["visible"] = known * (torch.arange(17) > 4)  # faces have no labels
    samples["joints"][:, :5] = float("nan")
    task._teacher = lambda crops: (truth, known)
    best = heatmaps(truth, (96, 128), 2.0, known)
    total, parts = task.loss(lambda crops: best, samples)  # type: ignore[arg-type]
    assert float(total) == pytest.approx(0, abs=1e-9)
    wrong = best.clone()
    wrong[:, 0] = 0.5
    assert float(task.loss(lambda crops: wrong, samples)[1]["teacher"]) > 0.1  # type: ignore[arg-type]
    assert set(parts) == {"labels", "teacher"}


# ---- detector -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start(people: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pose network that knows nothing."""
    path = str(tmp_path_factory.mktemp("start") / "start.onnx")
    task = PoseTask(pose_config(people))
    task.write(task.network().eval(), path, "")
    return path


@pytest.mark.parametrize("hints", [0.0, 0.5])
def test_what_is_frozen_stays_as_it_is(hints: float, people: str, start: str) -> None:
    """The stem and layer1, weights and statistics, over two steps; all else learns."""
    config = pose_config(people, freeze=2, start=start, warmup=0, rate=0.01, optimiser="muon")
    config = replace(config, hint_weight=hints, teacher=start if hints else "")
    task = PoseTask(config)
    with team("cpu") as crew:
        learner = Learner(task, config, crew, 2)
        before = learner.snapshot(config, {})
        old, averaged = ({k: v.clone() for k, v in w.items()} for w in (before.weights, before.ema))
        samples = batch([task.sample(0, n) for n in range(4)])
        for step in range(2):
            learner.learn(step, samples)
        now = learner.snapshot(config, {})
    for had, has in ((old, now.weights), (averaged, now.ema)):
        same = {name for name, tensor in had.items() if torch.equal(tensor, has[name])}
        parts = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")
        frozen = {name for name in had if any(part in name for part in parts)}
        assert frozen <= same and len(frozen) == 6 + 4 * 6
        assert not {name for name in same - frozen if name.endswith("weight")}
    assert learner.weights < sum(p.numel() for p in task.network().parameters())


@pytest.mark.parametrize("name", OF_POSE)
def test_a_detector_takes_nothing_that_it_cannot_have(name: str, people: str) -> None:
    known = getattr(Config("detector"), name)
    others = {"loss": "softmax", "depth": 34, "padding": 1.1}
    other = others.get(name) or known / 2 or 1.0
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}: for a pose network"):
        DetectorTask(detector_config(people, **{name: other}))


@pytest.mark.parametrize("crowds", [False, True])
def test_what_cannot_be_measured_is_told_before_the_first_step(
    crowds: bool, people: str, tmp_path: Path
) -> None:
    values = json.loads(Path(people).read_text())
    for person in values["annotations"]:
        if crowds:
            person["iscrowd"] = 1
        else:
            person["keypoints"], person["num_keypoints"] = [0] * 51, 0
    (tmp_path / "val.json").write_text(json.dumps(values))
    val = f"{tmp_path / 'val.json'},{Path(people).parent}"
    with pytest.raises(UsageError, match=r"--val .*val\.json,.*: nobody"):
        PoseTask(replace(pose_config(people), val=(val,)))


@pytest.mark.parametrize("task", [PoseTask, DetectorTask])
@pytest.mark.parametrize("wrong", ["boxes alone", "nobody", "a picture is missing"])
def test_what_cannot_be_learned_from_is_told_before_the_first_step(
    wrong: str, task: type, people: str, tmp_path: Path
) -> None:
    values = json.loads(Path(people).read_text())
    says = r"--data .*more\.json,.*: nobody"
    if wrong == "nobody":
        values["annotations"] = []
    elif wrong == "boxes alone":
        values["annotations"] = [{**a, "keypoints": []} for a in values["annotations"]]
    else:
        shown = values["annotations"][-1]["image_id"]
        (name,) = [image for image in values["images"] if image["id"] == shown]
        name["file_name"], says = (
            "images/gone.png",
            r"gone\.png: 1 of the \d+ images that are needed",
        )
    (tmp_path / "more.json").write_text(json.dumps(values))
    config = (pose_config if task is PoseTask else detector_config)(people)
    config = replace(config, data=(f"{tmp_path / 'more.json'},{Path(people).parent}",))
    if task is DetectorTask and wrong == "boxes alone":
        assert len(task(config))
        return
    with pytest.raises(InputError, match=says):
        task(config)


def test_who_has_joints_teaches_nothing_unlabelled(people: str) -> None:
    config = replace(pose_config(people), unlabelled=(people,), teacher="asked.onnx")
    with pytest.raises(InputError, match=r"--unlabelled .*people\.json: nobody in it"):
        PoseTask(config)


@pytest.mark.parametrize("nobody", [False, True])
def test_a_detector_is_measured_where_everybody_is_labelled(
    nobody: bool, people: str, tmp_path: Path
) -> None:
    values = json.loads(Path(people).read_text())
    values["info"] = {"complete": nobody}
    if nobody:
        values["annotations"] = []
    (tmp_path / "val.json").write_text(json.dumps(values))
    val = f"{tmp_path / 'val.json'},{Path(people).parent}"
    with pytest.raises(UsageError, match=r"^--val .*val\.json,.*: a detector is measured on"):
        DetectorTask(replace(detector_config(people), val=(val,)))


@pytest.mark.parametrize("task", [PoseTask, DetectorTask])
def test_a_checkpoint_does_without_the_start(task: type, people: str, tmp_path: Path) -> None:
    """Which may be gone, or another by now."""
    make = pose_config if task is PoseTask else detector_config
    first = task(make(people)).network()
    config = make(people, start=str(tmp_path / "gone.safetensors"))
    with team("cpu") as crew:
        there = dict(first.state_dict())
        learner = Learner(task(config), config, crew, 2, there)
        learner.restore(Learner(task(make(people)), config, crew, 2).snapshot(config, {}))
    with pytest.raises(ModelError, match=r"gone\.safetensors"):
        task(config).network()


def test_the_start_is_read_once(
    people: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its widths, its weights and what it says of them are those of one moment."""
    start = tmp_path / "start.safetensors"
    task = PoseTask(pose_config(people))
    start.write_bytes(weights_bytes(task.network().state_dict()))
    read: list[Path] = []

    def counting(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    monkeypatch.setattr("train.weights.read", counting)
    PoseTask(replace(task.config, start=str(start))).network()
    assert read == [start]


def test_nothing_is_frozen_that_nobody_has_learned(people: str) -> None:
    with pytest.raises(UsageError, match="--freeze: needs weights"):
        PoseTask(pose_config(people, freeze=1))
    with pytest.raises(UsageError, match="--freeze: for the backbone"):
        DetectorTask(detector_config(people, freeze=1))


def boxes_of(sample: Sample, size_wh: tuple[int, int]) -> np.ndarray:
    """What the decoder of the pipeline reads from the targets."""
    outputs = [sample["centres"].astype(np.float32)[None], sample["edges"].astype(np.float32)]
    boxes, _ = decode_centers(outputs, size_wh, 0.99)
    return boxes


def test_targets_decode_to_the_labelled_boxes(people: str) -> None:
    config = detector_config(people, **STILL)
    for n, picture in enumerate(open_set(people).pictures):
        sample = detector_sample(picture, config, np.random.default_rng(n))
        assert sample["image"].shape == (128, 160, 3)
        found = boxes_of(sample, (160, 128))
        assert len(found) == int((sample["centres"] == 1).sum())
        for box in found:  # some person, brought into the sample by scaling and shifting alone
            ratios = [_ratio(box, p.box_xyxy) for p in picture.people]
            touches = (box[:2] <= 1).any() or (box[2:] >= np.array([158, 126])).any()
            assert touches or min(abs(r - 1) for r in ratios) < 0.05


def _ratio(box: np.ndarray, other: np.ndarray) -> float:
    """Aspect of one box against that of another."""
    (w, h), (v, k) = box[2:] - box[:2], other[2:] - other[:2]
    return float(w / h * k / v)


def test_mirrored_samples_are_mirror_images(people: str) -> None:
    picture = open_set(people).pictures[0]
    plain = detector_sample(picture, detector_config(people, **STILL), np.random.default_rng(5))
    mirrored = detector_sample(
        picture, detector_config(people, **(STILL | {"flip": 1.0})), np.random.default_rng(5)
    )
    assert np.abs(plain["image"][:, ::-1].astype(int) - mirrored["image"]).max() <= 2
    np.testing.assert_array_equal(plain["joints"][MIRROR][..., ::-1], mirrored["joints"])
    np.testing.assert_array_equal(plain["counted"][:, ::-1], mirrored["counted"])


def test_what_is_labelled_is_mirrored_as_well(people: str) -> None:
    """A person of whom one shoulder is labelled, in a mirror."""
    config = detector_config(people, **(STILL | {"flip": 1.0}))
    picture = open_set(people).pictures[0]
    joints = picture.people[0].joints.copy()
    joints[np.arange(17) != 5, 2] = 0
    single = replace(picture, people=(replace(picture.people[0], joints=joints),))
    sample = detector_sample(single, config, np.random.default_rng(5))
    assert np.flatnonzero(sample["joints"].any((1, 2))).tolist() == [6]


def test_crowds_and_unknown_people_are_not_asked_for(people: str) -> None:
    config = detector_config(people, **STILL)
    picture = open_set(people).pictures[0]
    rng = lambda: np.random.default_rng(1)  # noqa: E731
    crowd = tuple(replace(p, crowd=True) for p in picture.people)
    sample = detector_sample(replace(picture, people=crowd), config, rng())
    assert sample["centres"].max() == 0
    assert (sample["counted"] == 0).any() and (sample["counted"] == 1).any()
    partly = detector_sample(replace(picture, complete=False), config, rng())
    whole = detector_sample(picture, config, rng())
    assert partly["counted"].sum() < whole["counted"].sum()
    np.testing.assert_array_equal(partly["centres"], whole["centres"])
    nobody = detector_sample(replace(picture, people=()), config, rng())
    assert nobody["centres"].max() == 0 and (nobody["counted"] == 1).all()


def test_a_small_person_counts_before_a_large_one_and_in_a_crowd() -> None:
    boxes = np.float32([[60, 40, 80, 80], [0, 0, 159, 127]])
    both, small = np.array([True, True]), np.array([True, False])
    i, j = 15, 17  # the cell of the small one's centre, whose own is at 69.5, 61.5
    for order in ([0, 1], [1, 0]):
        sample = _centre_targets(boxes[order], both, both, (160, 128), True)
        assert sample["edges"][:, i, j].tolist() == [9.5, 21.5, 10.5, 18.5]
        assert sample["centres"][i, j] == 1 and sample["counted"].all()
    sample = _centre_targets(boxes, small, both, (160, 128), True)
    assert sample["counted"][i, j] and sample["counted"].mean() < 0.05
    assert np.argwhere(sample["share"]).tolist() == [
        [i - 1, j], [i, j - 1], [i, j], [i, j + 1], [i + 1, j]
    ]  # fmt: skip


def test_who_is_hardly_seen_is_not_asked_for_and_not_nobody(people: str) -> None:
    """A third of a person in the sample, and one of 3 by 6 pixels: neither somebody nor nobody."""
    whole, small = np.float32([60, 40, 80, 80]), np.float32([110, 60, 112.9, 66.9])
    cases = (np.float32([-40, 10, 19, 100]), False), (small, False), (whole, True)
    picture, still = open_set(people).pictures[0], np.float32([[1, 0, 0], [0, 1, 0]])
    inside = np.float32([-0.5, -0.5, 159.5, 127.5])
    for box, asked in cases:
        one = replace(picture, people=(replace(picture.people[0], box_xyxy=box),))
        sample = _targets(one, still, False, inside, (160, 128))
        assert sample["centres"].max() == asked and sample["counted"].all() == asked
        assert (sample["share"].sum() > 0.9) == asked


def test_two_who_are_at_one_place_are_not_more_than_one(people: str) -> None:
    picture = open_set(people).pictures[0]
    one, both = (replace(picture, people=picture.people[:1] * n) for n in (1, 2))
    config = detector_config(people, **STILL)
    alone, together = (detector_sample(p, config, np.random.default_rng(1)) for p in (one, both))
    np.testing.assert_array_equal(alone["joints"], together["joints"])
    assert alone["joints"].max() > 200


def test_joints_beside_labelled_people_are_asked_for_where_all_are_labelled(people: str) -> None:
    config = detector_config(people, **STILL)
    picture = open_set(people).pictures[0]
    whole, partly = (
        detector_sample(replace(picture, complete=complete), config, np.random.default_rng(1))
        for complete in (True, False)
    )
    assert whole["joints_counted"].all() and 0 < partly["joints_counted"].mean() < 0.9
    assert partly["joints_counted"][(partly["joints"] > 200).any(0)].mean() > 0.9


def test_beside_the_picture_a_sample_is_grey_in_any_light(people: str) -> None:
    picture, beside = open_set(people).pictures[0], 0
    light = STILL | dict.fromkeys(("colour", "dark"), 1.0)
    for seed in range(12):
        plain, lit = (
            detector_sample(picture, detector_config(people, **how), np.random.default_rng(seed))
            for how in (STILL, light)
        )
        grey = cv2.erode((plain["image"] == GREY).all(2).astype(np.uint8), np.ones((5, 5)))
        beside += int(grey.sum())
        assert (lit["image"][grey > 0] == GREY).all()
        assert (lit["image"] != plain["image"]).mean() > 0.3
    assert beside > 1000


def test_joints_without_labels_are_not_asked_for(people: str) -> None:
    config = detector_config(people, **STILL)
    picture = open_set(people).pictures[0]
    no_joints = tuple(replace(p, joints=np.zeros((17, 3), np.float32)) for p in picture.people)
    sample = detector_sample(replace(picture, people=no_joints), config, np.random.default_rng(1))
    assert sample["joints"].max() == 0
    assert (sample["joints_counted"] == 0).any()
    body = picture.people[0].joints.copy()
    body[:5] = 0
    single = (replace(picture.people[0], joints=body),)
    sample = detector_sample(replace(picture, people=single), config, np.random.default_rng(1))
    assert sample["joints_known"].tolist() == [0] * 5 + [1] * 12


def test_detector_losses_are_least_at_the_target(people: str) -> None:
    task = DetectorTask(detector_config(people))
    samples = batch([task.sample(0, n) for n in range(4)])
    centres, counted = samples["centres"].float(), samples["counted"].float()
    perfect = torch.where(centres == 1, 12.0, -12.0)
    assert centre_loss(perfect, centres, counted) < 0.01
    assert centre_loss(-perfect, centres, counted) > 10
    edges, share = samples["edges"].float(), samples["share"].float()
    assert box_loss(edges, edges, share) == pytest.approx(0, abs=1e-4)
    assert box_loss(edges * 1.2, edges, share) > 0.1
    joints = samples["joints"].float() / 255
    logits = torch.logit(joints.clamp(1e-4, 1 - 1e-4))
    ones = torch.ones_like(joints)
    assert joint_loss(logits, joints, ones) < joint_loss(logits + 0.5, joints, ones)


def test_detector_losses_by_hand() -> None:
    logits = torch.tensor([[[0.0, 1.0, 2.0]]])
    centres, counted = torch.tensor([[[1.0, 0.5, 0.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    found = torch.sigmoid(logits)[0, 0]
    wanted = -(0.5**2) * math.log(0.5) - 0.5**4 * found[1] ** 2 * torch.log(1 - found[1])
    assert float(centre_loss(logits, centres, counted)) == pytest.approx(float(wanted), rel=1e-5)
    sizes, edges = torch.full((1, 4, 1, 2), 2.0), torch.full((1, 4, 1, 2), 2.0)
    edges[0, 0, 0, 0], sizes[0, 3, 0, 1] = 4, 99  # the second does not count
    share = torch.tensor([[[1.0, 0.0]]])
    wanted = math.log(5 / 3) / 4 - math.log(16 / 24)
    assert float(box_loss(sizes, edges, share)) == pytest.approx(wanted, rel=1e-5)


def test_the_parts_of_the_detector_loss(people: str) -> None:
    """Joint maps of 0 to 255 are chances; those of joints that the labels do not know, and of cells
    where nothing is known, are free."""
    samples = batch([DetectorTask(detector_config(people)).sample(0, n) for n in range(2)])
    samples["joints_known"][:, :5], samples["joints_counted"][:, :4] = 0, 0
    chances = (samples["joints"].double() / 255).clamp(1e-6, 1 - 1e-6)
    joints = torch.logit(chances).float()
    entropy = -(chances * chances.log() + (1 - chances) * (1 - chances).log())[:, 5:, 4:]
    counts = samples["joints_counted"][:, None, 4:].expand_as(entropy)
    least = float((entropy * counts).sum() / counts.sum())
    joints[:, :5], joints[:, :, :4] = 30, 30
    centres, edges = samples["centres"].float()[:, None], samples["edges"].float()
    net = lambda image: (torch.where(centres == 1, 12.0, -12.0), edges, joints, ())  # noqa: E731
    loss, parts = detector_loss(net, samples)  # type: ignore[arg-type]
    assert float(parts["joint"]) == pytest.approx(least, rel=0.01)
    assert float(loss) == pytest.approx(
        float(parts["centre"] + BOX_WEIGHT * parts["box"] + JOINT_WEIGHT * parts["joint"])
    )


def test_gradients_of_detector_losses() -> None:
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.rand(*shape, generator=rng, dtype=torch.float64)  # noqa: E731
    logits = (draw(2, 4, 5) * 4 - 2).requires_grad_()
    centres = draw(2, 4, 5)
    centres[:, 1, 2] = 1
    counted = (draw(2, 4, 5) > 0.3).double()
    assert torch.autograd.gradcheck(lambda x: centre_loss(x, centres, counted), (logits,))
    sizes = (draw(2, 4, 4, 5) * 9 + 1).requires_grad_()
    edges, share = draw(2, 4, 4, 5) * 9 + 1, draw(2, 4, 5)
    assert torch.autograd.gradcheck(lambda x: box_loss(x, edges, share), (sizes,))


def test_the_detector_learns_and_exports(people: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = DetectorTask(detector_config(people, **STILL, window_wh=(96, 96)))
    net = task.network().train()
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    losses = []
    for step in range(12):
        loss, _ = task.loss(net, batch([task.sample(step, n) for n in range(4)]))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] * 0.9
    result = task.validate(net.eval())
    assert {"recall", "f1", result.best_by} <= set(result.numbers)
    assert result.sheet.std() > 10
    path = tmp_path / "detector.onnx"
    task.write(net, str(path), "12 steps")
    from engines.load import load

    network = load(path, "detector", precision="f32")
    assert network.spec.input_wh == (160, 128)
    pixels = task.sample(0, 0)["image"]
    whole = np.zeros((2, 128, 160, 3), np.uint8)
    whole[:, :96, :96] = pixels
    with torch.no_grad():
        wanted = net.detector(torch.from_numpy(whole))  # type: ignore[operator]
    for got, want in zip(network(whole), wanted):
        assert np.abs(got - want.numpy()).max() < 0.02 * float(want.abs().max())
    network.close()


def test_the_detector_is_as_small_as_promised() -> None:
    net = PersonDetector().eval()
    weights = sum(p.numel() for p in net.parameters())
    assert weights * 2 < 6e6  # fp16
    macs = 0

    def count(layer: torch.nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal macs
        macs += out.shape[2] * out.shape[3] * layer.weight.numel()  # type: ignore[operator]

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 320, 320, 3, dtype=torch.uint8))
    assert macs <= 1.0e9


def test_the_loss_reaches_every_weight(people: str) -> None:
    task = DetectorTask(detector_config(people))
    net = DetectorTrainer()
    loss, _ = detector_loss(net, batch([task.sample(0, n) for n in range(4)]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
