"""Everything that decides what a training run learns, as one frozen record.

It is written into every checkpoint, so that a run can only be resumed as what it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from realtime.errors import UsageError
from realtime.geometry import CROP_PADDING

TaskName = Literal["pose", "detector"]
Amp = Literal["auto", "off", "bf16", "fp16"]


def option(default: Any, help: str, choices: tuple[Any, ...] = (), shown: str = "") -> Any:
    """A dataclass field that is also a command line option. shown: what --help calls the default,
    where that is not what it means."""
    return field(default=default, metadata={"help": help, "choices": choices, "shown": shown})


INPUT_WH = {"pose": (192, 256), "detector": (320, 320)}
"""Network inputs where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Config:
    """Options of ``posestream-train pose`` and ``posestream-train detector``.

    Sizes are (width, height) in pixels. data, val and unlabelled name data sets as
    ``FILE.json[,IMAGES[,WEIGHT]]``, see train.coco.open_set.
    """

    task: TaskName
    data: tuple[str, ...] = option((), "labelled people: FILE.json[,IMAGES[,WEIGHT]]; repeatable")
    val: tuple[str, ...] = option((), "people to measure on after each epoch; repeatable")
    unlabelled: tuple[str, ...] = option((), "boxes without joints, for --teacher; repeatable")
    input_wh: tuple[int, int] = option(
        (0, 0), "network input", shown="192x256 for pose, 320x320 for the detector"
    )
    window_wh: tuple[int, int] = option(
        (0, 0), "learn from parts of the input of this size, which is quicker", shown="the whole"
    )
    depth: int = option(18, "layers of the ResNet backbone", (18, 34, 50, 101, 152))
    start: str = option("", "weights to start from: .safetensors, .onnx, a name, or imagenet")
    freeze: int = option(
        0,
        "parts of a pose backbone that stay as they are: 1 is all before layer1, 2 that too",
    )
    teacher: str = option("", "model to learn from as well: heatmaps, or RTMDet for a detector")
    teacher_weight: float = option(
        1.0, "of the teacher's joints, where nobody labelled them, against those of the labels"
    )
    distil: float = option(
        0.0, "of learning the teacher's whole heatmaps, where no label says otherwise"
    )
    hints: str = option("", "model that gives the hints, if not the teacher; RTMDet for a pose too")
    hint_weight: float = option(
        0.0, "of learning what the teacher sees on the way to its answer, at every place"
    )
    loss: str = option(
        "mse",
        "heatmap loss; softmax starts quicker from scratch but learns no scores: go on with mse",
        ("mse", "softmax"),
    )
    peak_weight: float = option(4.0, "extra weight of the heatmap's peak in the mse loss")
    sigma: float = option(2.0, "of the target Gaussians in heatmap cells")
    padding: float = option(CROP_PADDING, "how much larger than the box of a person the crop is")
    narrow: float = option(
        0.0, "share of steps that show slim people in crops of two thirds of the width"
    )
    epochs: int = option(140, "passes over the mixed data")
    batch: int = option(32, "samples per step, over all processes")
    rate: float = option(1e-3, "peak learning rate")
    schedule: str = option("cosine", "of the learning rate", ("cosine", "step", "constant"))
    warmup: int = option(300, "steps of linear warm-up")
    optimiser: str = option("adamw", "muon learns more from a step", ("adam", "adamw", "muon"))
    weight_decay: float = option(1e-4, "")
    clip: float = option(5.0, "largest norm of the gradient; 0 is none")
    ema: float = option(0.999, "decay of the averaged weights; 0 is none")
    amp: Amp = option("auto", "arithmetic of the forward pass", ("auto", "off", "bf16", "fp16"))
    seed: int = option(0, "of everything random")
    flip: float = option(0.5, "share of samples mirrored")
    scale: float = option(0.35, "largest relative change of size")
    rotate: float = option(40.0, "largest rotation in degrees")
    shift: float = option(0.08, "largest shift, of the box")
    half_body: float = option(0.3, "share of samples showing half of the joints")
    colour: float = option(0.5, "share of samples with changed brightness, contrast or hue")
    dark: float = option(0.2, "share of samples darkened, with sensor noise")
    blur: float = option(0.1, "share of samples blurred")
    occlude: float = option(0.2, "share of samples with a part covered")

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{flag(name)}: {getattr(self, name)} is not {low} to {high:g}")
        for item in fields(self):
            allowed = item.metadata.get("choices")
            if allowed and getattr(self, item.name) not in allowed:
                shown = ", ".join(map(str, allowed))
                raise UsageError(f"{flag(item.name)}: {getattr(self, item.name)!r}; choose {shown}")
        self._settle_sizes()

    def _settle_sizes(self) -> None:
        """An input that nobody gave becomes that of the task. Raises UsageError for wrong sizes."""
        if self.input_wh == (0, 0):
            object.__setattr__(self, "input_wh", INPUT_WH[self.task])
        for name, size in (("input_wh", self.input_wh), ("window_wh", self.sample_wh)):
            if len(size) != 2 or any(n % 32 or not 64 <= n <= 2048 for n in size):
                raise UsageError(f"{flag(name)}: two multiples of 32 from 64 to 2048, as WxH")
        if self.task == "pose" and self.sample_wh != self.input_wh:
            raise UsageError("--window-wh: for the detector; a pose network sees whole people")

    @property
    def sample_wh(self) -> tuple[int, int]:
        """What is learned from: the window where there is one, else the whole input."""
        return self.input_wh if self.window_wh == (0, 0) else self.window_wh

    def as_dict(self) -> dict[str, Any]:
        """The options by name."""
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Config:
        """The record written by to_json. Raises UsageError for an unknown or wrong option,
        ValueError for what is no record."""
        values = json.loads(text)
        if not isinstance(values, dict) or "task" not in values:
            raise ValueError("not the options of a training")
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """A record from plain values (lists for tuples). Raises UsageError for unknown names and
        for values of another type."""
        types = get_type_hints(cls)
        unknown = set(values) - set(types)
        if unknown:
            raise UsageError(f"{', '.join(map(flag, sorted(unknown)))}: no such training option")
        return cls(**{name: _typed(name, value, types[name]) for name, value in values.items()})


def flag(name: str) -> str:
    """The command line option of a field."""
    return f"--{name.replace('_', '-')}"


def _typed(name: str, value: Any, wanted: Any) -> Any:
    """value as its field has it. Raises UsageError."""
    if get_origin(wanted) is tuple:
        inner = get_args(wanted)[0]
        if isinstance(value, list | tuple) and all(type(v) is inner for v in value):
            return tuple(value)
    elif wanted is float and type(value) is int:
        return float(value)
    elif type(value) is (wanted if isinstance(wanted, type) else str):
        return value
    kind = KINDS.get(wanted, "a text")
    raise UsageError(f"{flag(name)}: {value!r} is of the wrong type; give {kind}")


KINDS = {
    int: "a whole number", float: "a number", tuple[int, int]: "[WIDTH, HEIGHT]",
    tuple[str, ...]: 'a list of texts, like ["a.json,IMAGES"]',
}  # fmt: skip
"""What an option of a type is called in messages."""


MANY = 1e9
LIMITS = {
    "freeze": (0, 5), "teacher_weight": (0, MANY), "distil": (0, MANY), "hint_weight": (0, MANY),
    "peak_weight": (0, MANY), "sigma": (0.5, 100), "padding": (1, 4), "narrow": (0, 1),
    "epochs": (1, 100_000), "batch": (1, 100_000), "rate": (0, 10), "warmup": (0, MANY),
    "weight_decay": (0, 10), "clip": (0, MANY), "ema": (0, 0.999999), "seed": (0, 2**31),
    "flip": (0, 1), "scale": (0, 0.95), "rotate": (0, 180), "shift": (0, 1), "half_body": (0, 1),
    "colour": (0, 1), "dark": (0, 1), "blur": (0, 1), "occlude": (0, 1),
}  # fmt: skip
"""The smallest and the largest value of each number."""
