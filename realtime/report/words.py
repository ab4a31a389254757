"""What a run was and what is unsure about it, in words and figures."""

from __future__ import annotations

from html import escape

import numpy as np

from realtime.formats.rows import missing_after
from realtime.report import charts
from realtime.report.recording import Recording
from realtime.report.runfile import RunFile
from realtime.report.sections import lasting, told
from realtime.skeleton import JOINTS

SHORT = 1.0
"""Seconds; an id seen for less may be no person."""


def figures(recording: Recording, run: RunFile | None) -> list[tuple[str, str]]:
    """The figures at the top: what, how much."""
    seconds = recording.span + recording.step
    rate = 1 / recording.step if recording.timed and recording.span else None
    people = len(recording.people)
    result = [
        ("frames", f"{len(recording.x):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")),
        ("length", charts.moment(seconds, 0.1 if seconds < 60 else 1) if rate else "not known"),
        ("frames a second in the file", f"{rate:.4g}" if rate else "not known"),
        ("people (ids)", str(people) if people or not len(recording.everybody) else "no ids"),
        ("most at once", str(recording.counts.max(initial=0))),
    ]
    if run and run.fps is not None:
        result.append(("fps of the run", f"{run.fps:.1f}"))
    if run and "p95" in run.latency_ms:
        result.append(("latency, 95 %", f"{run.latency_ms['p95']:.0f} ms"))
    return result


def doubts(recording: Recording, run: RunFile | None, least_score: float) -> list[str]:
    """Sentences about what a reader should not rely on."""
    return [
        *_about_joints(recording, least_score),
        *_about_ids(recording),
        *_about_frames(recording),
        *(_about_run(run) if run else []),
    ]


def _about_joints(recording: Recording, least_score: float) -> list[str]:
    scores, lines = recording.everybody.joint_scores, []
    if recording.left_out:
        left = _number(recording.left_out, "pose")
        lines.append(f"{left} left out: a number is not finite or far out of range.")
    if not len(scores):
        return lines
    if (scores == 1).all():
        lines.append("Every joint scores 1: the file has no scores to tell sure from unsure.")
        return lines
    sure = (scores >= least_score).mean(0)
    if (unsure := 100 * (1 - sure.mean())) > 0:
        share = f"{unsure:.0f} %" if unsure >= 1 else "Less than 1 %"
        lines.append(
            f"{share} of all joints score below {least_score:g} and count as"
            " unsure: they are left out of trajectories and angles, which then have gaps."
        )
    worst = [j for j in np.argsort(sure, kind="stable")[:3].tolist() if sure[j] < 0.8]
    if worst:
        names = ", ".join(f"{JOINTS[j].replace('_', ' ')} ({100 * sure[j]:.0f} %)" for j in worst)
        lines.append(f"Least often sure: {names}.")
    if recording.people:
        lines.append(
            "Angles are those in the picture: true only for movement across it (knees and hips:"
            " filmed from the side)."
        )
    return lines


def _about_ids(recording: Recording) -> list[str]:
    lines, most = [], int(recording.counts.max(initial=0))
    if len(recording.people) > 1.5 * most:
        lines.append(
            f"{len(recording.people)} ids for at most {most} people at once: people came and went,"
            " or somebody who was lost came back under a new id."
        )
    if recording.timed:
        short = sum(len(p.rows) * recording.step < SHORT for p in recording.people)
        if short:
            lines.append(f"{_number(short, 'id')} seen for less than {SHORT:g} s.")
    if len(recording.unnumbered.rows):
        lines.append(
            f"{_number(len(recording.unnumbered.rows), 'pose')} without an id: nobody is followed"
            " there, so there are no angles over time."
        )
    return lines


def _about_frames(recording: Recording) -> list[str]:
    if len(recording.frames) < 3:
        return []
    missing = int(missing_after(recording.frames).sum())
    lines = []
    if missing:
        place = int(np.argmax(np.diff(recording.x)))
        longest = float(recording.x[place + 1] - recording.x[place])
        lines.append(
            f"{_number(missing, 'frame')} between the first and the last not in the file (dropped,"
            " or nobody in them where the format leaves those out); the longest gap is"
            f" {lasting(recording, longest)}, after {told(recording, float(recording.x[place]))}."
        )
    if not recording.timed:
        lines.append("The file has no rising times: everything is over frame numbers.")
    return lines


def _about_run(run: RunFile) -> list[str]:
    lines = []
    if lost := sum(run.dropped.values()):
        lines.append(f"The run dropped {lost} of {run.captured} frames.")
    if run.failed:
        lines.append(f"{_number(run.failed, 'frame')} failed.")
    if run.failed_people:
        lines.append(f"{_number(run.failed_people, 'pose')} left out: a joint was not finite.")
    return lines + run.notes


def _number(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"


def speed(run: RunFile) -> str:
    """HTML: the stages, the latency, where frames were lost."""
    parts = [_stages(run)] if run.stages else []
    parts += [_latency(run)] if run.latency_ms else []
    parts.append(_frames(run))
    return "".join(parts)


def _stages(run: RunFile) -> str:
    largest = max((stage.ms for stage in run.stages), default=0) or 1
    rows = [
        [
            escape(stage.name)
            + (" <small>slowest</small>" if stage.name == run.bottleneck else ""),
            charts.meter(stage.ms / largest, f"{stage.ms:.1f} ms"),
            f"{100 * stage.share:.0f} %" if stage.share is not None else "",
            str(stage.frames),
        ]
        for stage in run.stages
    ]
    head = ("Stage", "Per frame", "of the time", "frames")
    note = "Stages work at the same time in several threads, so the shares are no parts of 100 %."
    return charts.figure("Stages", charts.table(head, rows), "", note)


def _latency(run: RunFile) -> str:
    largest = max(run.latency_ms.values())
    rows = [
        [f"{escape(name.removeprefix('p'))} % within", charts.meter(ms / largest, f"{ms:.0f} ms")]
        for name, ms in run.latency_ms.items()
    ]
    return charts.figure("Latency, grab to picture", charts.table(("", ""), rows))


def _frames(run: RunFile) -> str:
    """Where the frames went."""
    rows = [["captured", f"{run.captured}", ""], ["written", f"{run.written}", ""]]
    rows += [[f"dropped: {escape(key)}", f"{n}", ""] for key, n in run.dropped.items()]
    rows += [["failed", str(run.failed), ""]] if run.failed else []
    for name, (frames, dropped, error) in run.sinks.items():
        lost = ", ".join([*(f"{key} {n}" for key, n in dropped.items()), *filter(None, [error])])
        rows.append([f"output {escape(name)}", str(frames), escape(lost)])
    return charts.figure("Frames", charts.table(("", "frames", "lost"), rows))
