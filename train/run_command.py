"""The commands ``pose``, ``detector`` and ``resume``: training runs and their options."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from realtime.command import number, whole
from realtime.errors import UsageError
from realtime.toml import read_table
from train.config import Config, TaskName, flag

HELP = {"pose": "learn a pose network", "detector": "learn a person detector"}


def add_command(commands: Any) -> None:
    """Add the three commands to the command line."""
    for task in get_args(TaskName):
        parser = commands.add_parser(task, help=HELP[task], description=HELP[task])
        parser.add_argument("--out", type=Path, required=True, help="folder of the run")
        parser.add_argument("--config", type=Path, help="TOML file with options; flags win")
        _add_run_options(parser)
        _add_config_options(parser)
        parser.set_defaults(run=_train, task=task)
    parser = commands.add_parser("resume", help="go on with a run as it was started")
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of the run")
    _add_run_options(parser)
    parser.set_defaults(run=_resume)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """How the run is carried out; train.loop.Run."""
    add = parser.add_argument_group("how").add_argument
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--workers", type=_count, help="processes that make samples (default: cores - 1, to 16)")
    add("--threads", type=_count, help="CPU threads of the network (default: torch's choice)")
    add("--minutes", type=_number, default=0.0, help="stop after so many; run again to go on")
    add("--save-every", type=_number, default=5.0, metavar="MINUTES", help="default: %(default)g")
    add("--validate-every", type=_positive, default=1, metavar="EPOCHS", help="default: 1")


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    """What is learnt; the fields of Config. None is what was not given."""
    add = parser.add_argument_group("what is learnt").add_argument
    types = get_type_hints(Config)
    for item in fields(Config):
        if item.name == "task":
            continue
        shown = item.metadata["shown"] or _shown(item.default)
        about = f"{item.metadata['help']} (default: {shown})".strip()
        choices = item.metadata["choices"] or _literals(types[item.name])
        add(
            flag(item.name),
            action="append" if types[item.name] == tuple[str, ...] else "store",
            type=_parser_of(types[item.name]),
            choices=choices or None,
            help=about.replace("%", "%%"),
            metavar=None if choices else "X",
        )


def make_config(options: argparse.Namespace) -> Config:
    """The options of the --config file, and over them those of the command line.

    Raises UsageError.
    """
    filed = read_config(options.config) if options.config else {}
    names = (item.name for item in fields(Config))
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    try:
        return Config.from_dict(filed | given)
    except UsageError:
        _check_alone(options, {name: filed[name] for name in filed if name not in given})
        raise


def _check_alone(options: argparse.Namespace, filed: dict[str, Any]) -> None:
    """Raise UsageError where what the --config file says is wrong by itself."""
    try:
        Config.from_dict({"task": options.task, **filed})
    except UsageError as error:
        raise UsageError(f"{options.config}: {error}") from error


def read_config(path: Path) -> dict[str, Any]:
    """A TOML file whose keys are names of options, with - or _. Raises UsageError."""
    values = {name.replace("-", "_"): value for name, value in read_table(path).items()}
    if strange := values.keys() - {item.name for item in fields(Config)}:
        raise UsageError(
            f"{path}: {', '.join(map(flag, sorted(strange)))}: no such training option in a file, "
            'which takes those under "what is learnt" in --help'
        )
    for name in ("input_wh", "window_wh"):
        if isinstance(values.get(name), str):
            values[name] = _size_of(path, name, values[name])
    return values


def _train(options: argparse.Namespace) -> int:
    config = make_config(options)
    from train.checkpoint import config_in
    from train.loop import check_same

    there = config_in(options.out)
    if there is not None:  # refuse before data is read
        check_same(there, config, options.out)
    return _start(config, options)


def _resume(options: argparse.Namespace) -> int:
    from train.checkpoint import config_in, newest

    config = config_in(options.out)
    if config is None:
        newest(options.out)  # which says so where all are damaged
        raise UsageError(f"{options.out}: no run to resume; start one with --out {options.out}")
    return _start(config, options)


def _start(config: Config, options: argparse.Namespace) -> int:
    from train.loop import Run, train
    from train.tasks import make

    run = Run(
        options.device, options.workers, options.threads, options.minutes,
        options.save_every, options.validate_every,
    )  # fmt: skip
    return train(make(config), config, options.out, run)


def _parser_of(kind: Any) -> Any:
    """What turns the text of an option into a value of a field's type."""
    if kind == tuple[int, int]:
        return _size
    return kind if kind in (int, float) else str


def _literals(kind: Any) -> tuple[Any, ...]:
    return tuple(arg for arg in get_args(kind) if isinstance(arg, str))


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value)) or "none"
    return str(value) if value != "" else "none"


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, like 192x256") from None
    return width, height


def _size_of(path: Path, name: str, text: str) -> tuple[int, int]:
    try:
        return _size(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{path}: {name}: {error}") from None


def _count(text: str) -> int:
    value = whole(text)
    if not 0 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"must be 0 to 1024, got {text}")
    return value


def _positive(text: str) -> int:
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def _number(text: str) -> float:
    value = number(text)
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be 0 to 1000000, got {text}")
    return value
