"""Settings as TOML, and values of TOML or Python as those of options."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from realtime.errors import UsageError
from realtime.hints import near
from realtime.options import is_switch, options_of
from realtime.settings import Settings
from realtime.toml import read_table


def read_config(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Options of a TOML file whose keys are long flag names, as Settings has them.

    Raises UsageError naming the key, the value and what is allowed.
    """
    table = read_table(path)
    options = options_of(parser)
    result = {}
    for key, value in table.items():
        action = options.get(key.replace("-", "_"))
        if action is None or "_" in key:
            found = near(key.replace("_", "-"), (name.replace("_", "-") for name in options))
            meant = f"did you mean {found}?" if found else "keys are the long flag names"
            raise UsageError(f"{path}: unknown key {key!r}; {meant}")
        try:
            result[action.dest] = typed(action, value)
        except (TypeError, ValueError, OverflowError, argparse.ArgumentTypeError) as error:
            reason = str(error) or "wrong type"
            raise UsageError(f"{path}: {key} = {value!r}: {reason}") from None
    return result


def typed(action: argparse.Action, value: Any) -> Any:
    """A TOML value as the option's type; TypeError says what was expected."""
    if is_switch(action):
        return _is(value, bool, "true or false")
    if action.dest in ("device", "input", "data"):
        kind, name = (int, "a whole number") if action.dest == "device" else (str, "a string")
        items = value if isinstance(value, list) else [value]
        return tuple(_is(item, kind, f"{name}, or a list of such") for item in items)
    if action.choices:
        if value not in action.choices:
            raise TypeError(f"expected one of {', '.join(action.choices)}")
        return value
    if action.dest == "verbose" or action.type is int:
        return _is(value, int, "a whole number")
    if action.type is float:
        return float(_is(value, (int, float), "a number"))
    if action.dest == "serve" and isinstance(value, bool):
        return action.const if value else None
    if action.dest in ("start", "end") and isinstance(value, float):
        raise TypeError(f'write "{value:.12g}s" for seconds, {value:.0f} for a frame number')
    numbered = action.dest in ("start", "end", "serve", "select")
    text = str(value) if numbered and type(value) is int else value
    text = _is(text, str, "a string")
    return action.type(text) if callable(action.type) else text


def _is(value: Any, kind: Any, wanted: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"expected {wanted}")
    return value


def as_toml(settings: Settings) -> str:
    """The options in force, readable by --config; those not set are left out."""
    lines = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is None or value in ((), "") or field.name in ("print_config", "version"):
            continue
        key = field.name.replace("_", "-")
        if field.name == "camera_size":
            value = f"{value[0]}x{value[1]}"
        lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if " " <= c <= "~" else _escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    """As ASCII, which any way of getting it into a file leaves as it is."""
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
