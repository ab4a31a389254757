"""From the command line, a configuration file or Python values to Settings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

from realtime.config_file import read_config, typed
from realtime.errors import UsageError
from realtime.formats.target import with_format
from realtime.hints import near
from realtime.options import build_parser, is_switch, options_of, unknown
from realtime.settings import DEFAULTS, Settings, validate

SOURCES = ("input", "device")


def parse(argv: Sequence[str]) -> Settings:
    """Settings from the command line and the --config file; the command line wins.

    Raises UsageError; --help prints and raises SystemExit(0).
    """
    parser = build_parser()
    parsed, rest = parser.parse_known_args(list(argv))
    if rest:
        raise UsageError(unknown(rest[0], parser))
    values = vars(parsed)
    config = read_config(values["config"], parser) if values["config"] else {}
    if any(values[name] for name in SOURCES):  # else both would run
        config = {name: value for name, value in config.items() if name not in SOURCES}
    return _settings(parser, config, values)


def settings_of(**given: Any) -> Settings:
    """Settings from Python values by the names of Settings; None stands for the default. Paths may
    be text, sizes are text ("1280x720"). Raises UsageError."""
    parser = build_parser()
    options = options_of(parser)
    values = {}
    for name, value in given.items():
        if name not in options:
            found = near(name, options)
            raise UsageError(
                f"unknown option {name}" + (f"; did you mean {found}?" if found else "")
            )
        plain = _plain(value)
        try:
            values[name] = None if value is None else typed(options[name], plain)
        except (TypeError, ValueError, argparse.ArgumentTypeError) as error:
            raise UsageError(f"{name} = {plain!r}: {str(error) or 'wrong type'}") from None
    return _settings(parser, {}, values)


def _plain(value: Any) -> Any:
    """As a configuration file would say it: paths as text, tuples as lists, numpy's numbers as
    Python's."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Real) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _settings(
    parser: argparse.ArgumentParser, config: dict[str, Any], values: dict[str, Any]
) -> Settings:
    """What was given, over what the configuration says, over the defaults."""
    options = options_of(parser)
    defaults = {key: False if is_switch(action) else None for key, action in options.items()}
    given = {key: value for key, value in values.items() if value is not None}
    merged = {**defaults, **DEFAULTS, **config, **given}
    if merged["format"]:
        merged["data"] = [with_format(text, merged["format"]) for text in merged["data"]]
    settings = Settings(**{f.name: _frozen(merged[f.name]) for f in fields(Settings)})
    validate(settings)
    return settings


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
