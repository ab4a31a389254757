"""A page for reading a run afterwards: python -m realtime.report --help."""

from __future__ import annotations

if __name__ == "__main__":
    from realtime.start import quietly

    quietly()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from realtime import atomic
from realtime.command import Parser, exit_code, program
from realtime.errors import InputError, UsageError
from realtime.formats.registry import load
from realtime.formats.target import divided
from realtime.report import runfile
from realtime.report.page import page
from realtime.report.recording import Recording, recorded
from realtime.sinks.outfile import check_not_input, check_writable

EPILOG = """examples:
  posestream --input walk.mp4 --json walk.jsonl --report walk.report.json
  %(prog)s walk.jsonl    writes walk.html
  %(prog)s walk.csv --out look.html --run-report other.json

the report of the run is found by itself when it is called NAME.report.json, NAME_report.json or
report.json and lies beside the data; the page needs no network and no other file"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Errors are one line on standard error."""
    return exit_code(lambda: print(_run(_parse(argv))))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=program("realtime.report"),
        description="An HTML page of a run: who was there when and where, joint angles, how sure"
        " it\nall is, speed and drops.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("data", metavar="RUN.jsonl", help="what --json or --data wrote, any format")
    add("--out", type=Path, metavar="FILE.html", help="the page (default RUN.html)")
    add("--run-report", type=Path, metavar="FILE.json", help="what --report wrote")
    add(
        "--least-score",
        type=float,
        default=0.3,
        metavar="S",
        help="of joints that count as sure (default 0.3)",
    )
    add("--overwrite", action="store_true", help="replace an existing page")
    args = parser.parse_args(argv)
    args.format, name = divided(args.data)
    args.data = Path(name)
    if args.data.name in ("", ".."):  # "." has no name that the page could be called after
        args.data = args.data.resolve()
    if not args.data.name:
        raise UsageError(f"{args.data}: expected a file or folder that --data wrote")
    if args.out is not None and args.out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {args.out}: expected a name ending in .html")
    if not 0 <= args.least_score <= 1:
        raise UsageError(f"--least-score {args.least_score}: expected 0 to 1")
    return args


def _run(args: argparse.Namespace) -> Path:
    """Write the page; its path."""
    out: Path = args.out or args.data.with_suffix(".html")
    check_not_input(out, [args.data, *([args.run_report] if args.run_report else [])])
    check_writable(out, args.overwrite)
    run = runfile.read(args.run_report) if args.run_report else None
    recording = _recording(args.data, args.format)
    run = run or runfile.find(args.data, len(recording.x))
    text = page(recording, run, args.data, args.least_score)
    atomic.replace(out, text.encode("utf-8", "replace"))
    return out


def _recording(data: Path, format_: str) -> Recording:
    """Raises InputError, naming the file."""
    loaded = load(data, format_)
    try:
        return recorded(loaded)
    except InputError as error:
        raise InputError(f"{data}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
