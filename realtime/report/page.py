"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from realtime.masking import mask_credentials
from realtime.report import sections, words
from realtime.report.recording import Recording
from realtime.report.runfile import RunFile
from realtime.version import VERSION

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'"
)
"""Nothing is fetched and no script runs, whatever the names in the files are."""


def page(recording: Recording, run: RunFile | None, data: Path, least_score: float) -> str:
    """The page about a recording read from data; run: what its report says, None without one.
    least_score: of a joint that counts as sure."""
    source = mask_credentials(run.source if run and run.source else data.name)
    parts = [_head(source, data, run), _figures(recording, run)]
    parts.append(_doubts(words.doubts(recording, run, least_score)))
    if not len(recording.x):
        parts.append(_message("There are no frames in this file."))
    elif not len(recording.everybody):
        parts.append(_message("Nobody was found in any frame."))
    else:
        parts += _people(recording, run, least_score)
    parts.append(_section("Speed and drops", _speed(run), "two" if run else ""))
    body = "".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(source)} - posestream</title><style>{_style()}</style></head>\n"
        f"<body><main>{body}</main><footer>Made by posestream {VERSION} from"
        f" {escape(data.name)}{f' and {escape(run.path.name)}' if run else ''}.</footer>"
        f"</body></html>\n"
    )


@cache
def _style() -> str:
    return files("realtime.report").joinpath("page.css").read_text(encoding="utf-8")


def _head(source: str, data: Path, run: RunFile | None) -> str:
    facts = [data.name] if data.name != source else []
    if run:
        facts += filter(None, [run.start[:19].replace("T", " ") + " UTC" if run.start else ""])
        facts += ["live" if run.live else "", *run.networks]
    said = " \N{MIDDLE DOT} ".join(escape(fact) for fact in facts if fact)
    return f"<header><h1>{escape(source)}</h1><p>{said}</p></header>"


def _figures(recording: Recording, run: RunFile | None) -> str:
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in words.figures(recording, run)
    )
    return f'<dl class="figures">{tiles}</dl>'


def _doubts(lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(mask_credentials(line))}</li>" for line in lines)
    return f'<section class="doubts"><h2>What is unsure</h2><ul>{items}</ul></section>'


def _people(recording: Recording, run: RunFile | None, least_score: float) -> list[str]:
    parts = [
        _section("Who is there when", sections.timeline(recording)),
        _section(
            "Where they go",
            sections.trails(recording, least_score, run.size_wh if run else None),
        ),
    ]
    if recording.people:
        parts.append(_section(_angles_title(recording), sections.angles(recording, least_score)))
    curves = sections.visibility(recording, least_score) + sections.confidence(recording)
    sure = f'<div class="two">{curves}</div>{sections.joints(recording, least_score)}'
    return [*parts, _section("How sure it is", sure)]


def _angles_title(recording: Recording) -> str:
    shown, total = min(sections.ANGLED, len(recording.people)), len(recording.people)
    some = f", the {shown} people seen longest" if total > shown else ""
    return f"Joint angles{some}"


def _speed(run: RunFile | None) -> str:
    if run:
        return words.speed(run)
    return (
        '<p class="message">Speed, latency and drops are in the report of the run:'
        " run with --report NAME.report.json beside NAME.jsonl, or give it with --run-report.</p>"
    )


def _section(title: str, inner: str, css: str = "") -> str:
    return f'<section><h2>{escape(title)}</h2><div class="{css}">{inner}</div></section>'


def _message(text: str) -> str:
    return f'<section><p class="message">{escape(text)}</p></section>'
