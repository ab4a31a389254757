"""Clean recorded poses, and turn one format into others: python -m realtime.clean --help."""

from __future__ import annotations

if __name__ == "__main__":
    from realtime.start import quietly

    quietly()

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from realtime.command import Parser, exit_code, program
from realtime.errors import InputError, UsageError
from realtime.follow import Sought
from realtime.formats.registry import WITHOUT_ANGLES, About, open_data, read
from realtime.formats.rows import LoadedFrame, missing_after
from realtime.formats.target import Target, divided, parse_target
from realtime.offline import Cleaning, clean
from realtime.records import Frame, PosedFrame
from realtime.sinks.outfile import check_names, check_not_input
from realtime.swaps import FAR, told_of

EPILOG = """examples:
  %(prog)s walk.jsonl --out walk.csv --butterworth 6
  %(prog)s walk.npz --out coco:walk.json --fix-swaps --median 5 --fill 0.2
  %(prog)s walk.jsonl --out walk.trc --id 3        only another format
  %(prog)s walk.jsonl --out walk.trc --height 1.80 in metres, for OpenSim
  %(prog)s jump.jsonl --out jump.csv --slow-motion 8 --butterworth 12"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Errors are one line on standard error."""
    return exit_code(lambda: _run(_parse(argv)))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog=program("realtime.clean"),
        description="Steady joints of recorded poses, from any data format into any other.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("input", metavar="[FORMAT:]FILE", help="what --data or --json wrote")
    add("--out", action="append", required=True, metavar="[FORMAT:]FILE", help="as --data")
    add("--fix-swaps", action="store_true", help="undo swaps of left and right")
    add("--median", type=int, default=0, metavar="N", help="running median of N frames, odd")
    add("--fill", type=float, default=0.0, metavar="S", help="fill gaps of up to S seconds")
    add("--butterworth", type=float, default=0.0, metavar="HZ", help="low-pass filter, no delay")
    add("--least-score", type=float, default=0.3, metavar="S", help="of joints that count (0.3)")
    add(
        "--slow-motion",
        type=float,
        default=1.0,
        metavar="N",
        help="filmed N times as fast as it plays (240 frames a second in a video of 30: 8): times"
        " are divided by N before all else",
    )
    add("--id", type=int, metavar="N", help="only this person")
    add(
        "--height",
        type=float,
        metavar="M",
        help="how tall the person is, in metres: TRC in metres with y up, not in pixels; right"
        " within about 5 %%, for movement in a plane that faces a level camera",
    )
    add("--angles", action="store_true", help="add the joint angles")
    add("--overwrite", action="store_true", help="replace existing files")
    args = parser.parse_args(argv)
    args.format, name = divided(args.input)
    args.input = Path(name)
    if args.median < 0 or (args.median and args.median % 2 == 0):
        raise UsageError(f"--median {args.median}: expected an odd number")
    if not 0.01 <= args.slow_motion <= 1000:
        raise UsageError(f"--slow-motion {args.slow_motion:g}: expected 0.01 to 1000")
    if args.height is not None and not 0.3 <= args.height <= 3:
        raise UsageError(f"--height {args.height:g}: expected metres, 0.3 to 3")
    if not 0 <= args.least_score <= 1:
        raise UsageError(f"--least-score {args.least_score}: expected 0 to 1")
    for name in ("fill", "butterworth"):
        if not 0 <= getattr(args, name) < float("inf"):
            raise UsageError(f"--{name} {getattr(args, name)}: expected 0 or more")
    return args


def _run(args: argparse.Namespace) -> None:
    targets = [parse_target(text, "--out") for text in args.out]
    if args.height is not None and not any(target.format == "trc" for target in targets):
        raise UsageError("--height: is for TRC (--out x.trc), the others are in pixels")
    for target in targets:
        check_not_input(target.path, [args.input])
    check_names([target.path for target in targets])
    frames, angles = read(args.input, args.format)
    notes: list[str] = []
    if not frames:  # of which the sinks would write no file at all, and say nothing
        text = "there is no frame in it (CSV and COCO leave out those without people)"
        raise InputError(f"{args.input}: {text}; give a file with poses")
    kept = args.angles or all(target.format in WITHOUT_ANGLES for target in targets)
    if angles and not kept:
        notes.append("the joint angles of the input are left out; --angles works them out anew")
    frames = [frame._replace(time=frame.time / args.slow_motion) for frame in frames]
    if args.id is not None:
        sought = Sought(args.id)
        for frame in frames:
            sought.look(frame.poses.ids)
        if sought.note:  # an empty file would take the place of a good one
            raise InputError(f"{args.input}: {sought.note}; give another --id, or none")
        frames = [f._replace(poses=f.poses[f.poses.ids == args.id]) for f in frames]
    how = Cleaning(args.fix_swaps, args.median, args.fill, args.butterworth, args.least_score)
    if how != Cleaning(least_score=how.least_score):
        notes += _undone(frames, how)
        frames = clean(frames, how, notes)
    named = any(frame.file for frame in frames)
    about = About(args.input.name, named, args.angles, args.least_score, height=args.height)
    notes += write(frames, targets, about, args.overwrite)
    for note in notes:
        print(f"posestream: note: {note}", file=sys.stderr)


def _undone(frames: Sequence[LoadedFrame], how: Cleaning) -> list[str]:
    """What cleaning cannot do to these frames, which nobody would see."""
    ids = np.concatenate([np.zeros(0, np.int64), *(frame.poses.ids for frame in frames)])
    if len(ids) and ids.max() < 0:
        return ["nobody has an id, as in independent images: nothing was cleaned"]
    distances = np.diff([frame.time for frame in frames])
    notes = []
    if how.fix_swaps and (note := told_of(int((distances > FAR).sum()), len(frames))):
        notes.append(note)
    missing = int(missing_after([frame.frame for frame in frames])[distances <= how.fill].sum())
    if missing:
        notes.append(
            f"{missing} frames that could be filled are not in the file and stay out (dropped"
            " ones; in CSV and COCO those without people: clean JSON Lines, JSON or NPZ instead)"
        )
    return notes


def write(
    frames: Sequence[LoadedFrame], targets: Sequence[Target], about: About, overwrite: bool
) -> list[str]:
    """Write frames to each target; notes. Raises OutputError, and then nothing is overwritten."""
    empty = np.zeros((1, 1, 3), np.uint8)
    with ExitStack() as cleanup:
        sinks = open_data(targets, about, overwrite=overwrite, cleanup=cleanup)
        for item in frames:
            frame = Frame(item.frame, item.time, empty, item.file)
            for sink in sinks:
                sink.write(PosedFrame(frame, item.poses))
        for sink in sinks:
            sink.close()
        return [note for sink in sinks for note in sink.notes]


if __name__ == "__main__":
    sys.exit(main())
