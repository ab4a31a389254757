"""The command line of batches."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from realtime.batch.cluster import check_address
from realtime.batch.join import SUFFIXES, Look
from realtime.cli import settings_of
from realtime.command import Parser, program
from realtime.errors import UsageError
from realtime.no_use import BATCH, NO_USE
from realtime.options import add_networks, build_parser, unknown

EPILOG = """examples:
  %(prog)s "videos/**/*.mp4" --out results
  %(prog)s "videos/**/*.mp4" --out results --workers 4 --cores-each 2
  %(prog)s "s3://lab/videos/*.mp4" --out s3://lab/poses --ray auto --gpus-each 0.5

videos/a/walk.mp4 gives results/a/walk.mp4.jsonl. Started again, it goes on where it was.

exit codes: 0 all files are done, 130 Ctrl-C, 143 SIGTERM, 2 usage, 4 results cannot be written,
5 model, device or Ray; where files failed, their exit code (3 input, ...), or 7 when they differ"""

EXACT = {"detect_every": 1, "bridge": 0}
"""Unless asked for otherwise, so that segments join as if they had been one file."""
EXACT_HELP = {
    "detect_every": f"frames from one detection to the next (default {EXACT['detect_every']})",
    "bridge": "whom the detector misses for up to N frames keeps a box where the pose network sees"
    f" somebody in it (default {EXACT['bridge']}: never)",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A batch as asked for. options: of realtime.run, those that were given."""

    inputs: tuple[str, ...]
    out: str
    ray: str | None
    workers: int | None
    cores_each: int
    gpus_each: float
    segment: float
    retries: int
    overwrite: bool
    quiet: bool
    look: Look
    options: dict[str, Any]


def parse(argv: Sequence[str] | None) -> Asked:
    """Raises UsageError; --help prints and raises SystemExit(0)."""
    parser = _parser()
    parsed, rest = parser.parse_known_args(argv)
    if rest:
        raise UsageError(unknown(rest[0], parser))
    given = vars(parsed)
    names = (name for name in _run_options() if given[name] is not None)
    options = {name: given[name] for name in names if given[name] is not False}  # 0 stays
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    settings_of(input="demo", headless=True, **plain)  # says what is wrong with them
    for name in ("detector", "pose"):
        if name in plain and Path(plain[name]).is_file():
            plain[name] = str(Path(plain[name]).absolute())
    _check(given)
    for name, value in EXACT.items():
        plain.setdefault(name, value)
    if not given["gpus_each"]:
        plain.setdefault("compute", "cpu")
    formats = tuple(dict.fromkeys(given["data"] or ["jsonl"]))
    least = given["min_joint_score"]
    return Asked(
        tuple(given["inputs"]), given["out"], given["ray"], given["workers"], given["cores_each"],
        given["gpus_each"], given["segment"], given["retries"], given["overwrite"], given["quiet"],
        Look(formats, given["angles"], 0.3 if least is None else least), plain,
    )  # fmt: skip


def _check(given: dict[str, Any]) -> None:
    for name in ("workers", "cores_each"):
        if given[name] is not None and not 1 <= given[name] <= 10_000:
            raise UsageError(f"--{name.replace('_', '-')} {given[name]}: expected 1 or more")
    if not 0 <= given["gpus_each"] <= 64:
        raise UsageError(f"--gpus-each {given['gpus_each']}: expected 0 to 64")
    if not 0 <= given["retries"] <= 100:
        raise UsageError(f"--retries {given['retries']}: expected 0 to 100")
    if not (math.isfinite(given["segment"]) and given["segment"] >= 1):
        raise UsageError(f"--segment {given['segment']}: expected 1 second or more")
    if given["ray"] is not None:
        check_address(given["ray"])
    if not given["out"].strip():
        raise UsageError("--out is empty; give a folder or a URL")


def _run_options() -> list[str]:
    """Options that the pipeline takes."""
    parser = argparse.ArgumentParser(add_help=False)
    add_networks(parser.add_argument)
    names = [a.dest for a in parser._actions if BATCH not in NO_USE.get(a.dest, {})]
    return [*names, "smooth", "fix_swaps", "strict"]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("realtime.batch"),
        description="Poses of many videos, by many workers.",
        epilog=EPILOG,
        conflict_handler="resolve",
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="files, quoted patterns (**, *, ?), fsspec URLs")
    add("--out", required=True, metavar="FOLDER", help="where results go: a folder or fsspec URL")
    add(
        "--data",
        action="append",
        choices=tuple(SUFFIXES),
        help="format of the results, may be given several times (default jsonl)",
    )
    add("--angles", action="store_true", help="joint angles in the results")
    add("--min-joint-score", type=float, metavar="S", help="for trc: leave out joints below (0.3)")
    add("--overwrite", action="store_true", help="replace results that no batch has written")
    add("--strict", action="store_true", help="a damaged or truncated file is an error")
    add("--quiet", action="store_true", help="no progress; errors and the table only")
    _add_workers(parser.add_argument_group("workers").add_argument)
    add = parser.add_argument_group("people").add_argument
    add("--smooth", choices=("data", "off"), help="steady joints (default off)")
    add("--fix-swaps", action="store_true", help="undo swaps of left and right")
    networks = parser.add_argument_group("networks")
    add_networks(networks.add_argument)
    for action in networks._group_actions:
        if action.dest in EXACT:
            action.help = EXACT_HELP[action.dest]
    own = {"help"} | {a.dest for a in parser._actions if BATCH not in NO_USE.get(a.dest, {})}
    for action in build_parser()._actions:
        if action.dest not in own:
            flags = action.option_strings
            parser.add_argument(*flags, nargs="?", help=argparse.SUPPRESS, action=_NotHere)
    return parser


def _add_workers(add: Any) -> None:
    add("--ray", metavar="ADDRESS", help="a Ray cluster (auto, HOST:6379); default: this machine")
    add("--workers", type=int, metavar="N", help="how many (default: as many as there is room for)")
    add("--cores-each", type=int, default=2, metavar="N", help="CPU cores of a worker (default 2)")
    add("--gpus-each", type=float, default=0.0, metavar="G", help="GPUs of a worker, e.g. 0.5 (0)")
    add(
        "--segment",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="cut longer files, at keyframes, into parts of about so long (default 60)",
    )
    add("--retries", type=int, default=2, metavar="N", help="tries after a lost worker (default 2)")


class _NotHere(argparse.Action):
    """An option of single runs that batches do not have."""

    def __call__(self, *_: Any) -> NoReturn:
        why = NO_USE.get(self.dest, {}).get(BATCH, "is for single runs, not for a batch")
        raise UsageError(f"{self.option_strings[-1]}: {why}")
