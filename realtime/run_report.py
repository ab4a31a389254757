"""The report of a run: as JSON for programs, as a few lines for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from engines.base import Network
from realtime import atomic
from realtime.errors import OutputError
from realtime.ledger import Ledger, SinkCount, bottleneck, rss_mb, stage_table
from realtime.outputs import SinkWorker
from realtime.pipeline import Pipeline
from realtime.sinks.record import Recorder
from realtime.sources.base import Source
from realtime.version import VERSION

SCHEMA = 1


def build_report(
    began: datetime,
    startup_s: float,
    source: Source,
    ledger: Ledger,
    pipeline: Pipeline,
    workers: Sequence[SinkWorker],
    networks: Sequence[Network],
    ended: bool,
) -> dict[str, Any]:
    """Everything known about a run, as plain JSON values.

    frames_written is that of the file sink that wrote most: one that fails may lose frames it had
    taken, so how many at least one sink has cannot be counted as they pass. dropped holds the
    frames dropped before the sinks plus those of that sink, so that frames_captured =
    frames_written + sum(dropped) + failed when there is a file sink.
    """
    meters = [*pipeline.meters.values(), *(worker.meter for worker in workers)]
    status = source.status
    return {
        "schema_version": SCHEMA,
        "version": VERSION,
        "start_utc": began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "startup_s": round(startup_s, 3),
        "source": source.info.name,
        "kind": source.info.kind,
        "live": source.info.live,
        "size_wh": source.info.size_wh,
        "ended": ended,
        "frames_shown": ledger.window.frames if ledger.window else 0,
        **_accounts(ledger, [w.count for w in workers if _writes(w)], ended),
        "crops": pipeline.crops,
        "fps": round(ledger.fps, 2),
        "wall_s": round(ledger.wall, 3),
        "latency_ms": _latency(ledger),
        "stages": stage_table(meters, pipeline.edges, ledger.wall),
        "bottleneck": bottleneck(meters, ledger.wall, ledger.live),
        **_engine(networks[-1]),
        "models": {network.spec.task: model(network) for network in networks},
        "sinks": _sinks(workers, ledger.window),
        "recording": _recording(workers),
        "reconnects": status.reconnects,
        "bad_packets": status.bad_packets,
        "damage": status.damage,
        "notes": [*status.notes, *(note for w in workers for note in w.sink.notes)],
        "rss_mb": rss_mb(),
    }


def _writes(worker: SinkWorker) -> bool:
    """Whether what the sink took is written: not one picture, nor what is only looked at."""
    return worker.sink.keeps in ("frames", "file")


def _accounts(ledger: Ledger, counts: Sequence[SinkCount], ended: bool) -> dict[str, Any]:
    """Where the frames went; see build_report."""
    upstream = {"grab.stale": ledger.stale()} if ledger.live else {}
    if ledger.sought:
        upstream["seek.left_out"] = ledger.sought
    wrong = ledger.settle(upstream, ended)
    best = max(counts, key=lambda count: count.frames, default=ledger.delivery)
    return {
        "frames_captured": ledger.captured,
        "frames_written": max((count.frames for count in counts), default=0),
        "dropped": dict(Counter(upstream) + best.dropped),
        "failed": ledger.failed,
        "failed_people": ledger.failed_people,
        "people": ledger.people,
        "ledger_errors": wrong,
    }


def _engine(network: Network) -> dict[str, str]:
    """What really runs a network, and why that was chosen where nobody said."""
    names = ("engine", "precision", "device", "why")
    return {name: getattr(network, name) for name in names}


def model(network: Network) -> dict[str, str]:
    """What a report says of a network."""
    spec = network.spec
    file = {"name": spec.name, "file": spec.path.name, "sha256": spec.sha256}
    return {**file, **_engine(network)}


def _sinks(workers: Sequence[SinkWorker], window: SinkCount | None) -> dict[str, Any]:
    """What each output and the window took."""
    rows = {
        worker.sink.name: {**_sink(worker.count, worker.error), "notes": list(worker.sink.notes)}
        for worker in workers
    }
    return {**rows, "window": _sink(window, None)} if window else rows


def _recording(workers: Sequence[SinkWorker]) -> dict[str, Any] | None:
    """What the annotated video is; None without one, and where it failed, which its error tells."""
    for worker in workers:
        sink = worker.sink
        if isinstance(sink, Recorder) and not worker.error and sink.ends:
            return {
                "first": str(sink.ends[0]),
                "last": str(sink.ends[1]),
                "frames": worker.count.frames,
                "seconds": round(sink.seconds, 3),
            }
    return None


def _sink(count: SinkCount, error: OutputError | None) -> dict[str, Any]:
    return {
        "frames": count.frames,
        "dropped": dict(count.dropped),
        "error": str(error) if error else None,
    }


def _latency(ledger: Ledger) -> dict[str, float] | None:
    values = {f"p{p}": ledger.latency.get(p) for p in (50, 95, 99)}
    if not ledger.live or None in values.values():
        return None
    return {key: round(1e3 * value, 2) for key, value in values.items() if value is not None}


def write_report(path: Path, report: dict[str, Any], overwrite: bool) -> None:
    """Write the report as a whole or not at all. Raises OutputError."""
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; use --overwrite")
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    atomic.replace(path, text.encode("utf-8", "backslashreplace"))


def summary(report: dict[str, Any]) -> list[str]:
    """At most 12 lines for people, what was lost first."""
    lines = [_frames(report)]
    if report["damage"]:
        lines.append(f"warning: {report['damage']}")
    lines += _behind(report)
    if video := report["recording"]:
        files = " to ".join(dict.fromkeys([video["first"], video["last"]]))
        lines.append(f"{files}: {video['frames']} frames, {video['seconds']:.1f} s")
    if report["frames_captured"]:
        lines += _figures(report)
    notes = [line for line in report["notes"] if line != report["damage"]]
    lines += [f"note: {line}" for line in notes[:2]]
    if len(notes) > 2:
        lines.append(f"{len(notes) - 2} more note{'s' * (len(notes) > 3)}, see --report")
    return [*lines[:11], *report["ledger_errors"][:1]]


def _frames(report: dict[str, Any]) -> str:
    """Where the frames went."""
    lost = sum(report["dropped"].values()) + report["failed"]
    drops = ", ".join(f"{key} {n}" for key, n in report["dropped"].items() if n)
    return (
        f"{report['frames_captured']} frames captured, {report['frames_written']} written, "
        f"{report['frames_shown']} shown, {lost} dropped or failed"
        + (f" ({drops})" if drops else "")
    )


def _behind(report: dict[str, Any]) -> list[str]:
    """A line for each output that got fewer frames than the best one."""
    return [
        f"{name}: only {sink['frames']} of them"
        f" ({', '.join(f'{key} {n}' for key, n in sink['dropped'].items() if n)})"
        for name, sink in report["sinks"].items()
        if sink["frames"] < report["frames_written"] and name != "window"  # see _frames
    ]


def _figures(report: dict[str, Any]) -> list[str]:
    """Speed, networks and what else there is to say about the frames."""
    looked = sum(report["crops"].values())
    lines = [
        f"{report['people']} poses of {looked} boxes; {report['fps']:.1f} fps;"
        f" slowest: {report['bottleneck']}"
    ]
    if report["latency_ms"]:
        figures = ", ".join(f"{key} {value:.0f}" for key, value in report["latency_ms"].items())
        lines.append(f"latency grab to picture, ms: {figures}")
    stages = ", ".join(
        f"{name} {row['ms_per_frame']:.1f}"
        for name, row in report["stages"].items()
        if row["frames"]
    )
    lines.append(f"ms per frame: {stages}")
    models = ", ".join(
        f"{m['name']} ({m['engine']} {m['precision']})" for m in report["models"].values()
    )
    lines.append(f"networks: {models}")
    if "demo" in report:
        lines.append(f"demo: {', '.join(_demo(report['demo']))}")
    if report["reconnects"]:
        lines.append(f"{report['reconnects']} reconnects")
    if report["bad_packets"] and report["kind"] != "images":  # those have a note each
        lines.append(f"{report['bad_packets']} damaged packets or pictures")
    if report["failed_people"]:
        lines.append(f"{report['failed_people']} people left out because a joint was not finite")
    return lines


def _demo(demo: dict[str, Any]) -> Iterator[str]:
    """What is known of how well the demo scene was understood."""
    if demo["mean_error_px"] is not None:
        yield f"mean error {demo['mean_error_px']:.2f} px"
    if demo["found"] is not None:
        yield f"{100 * demo['found']:.1f} % of people found"
    yield f"{demo['false']} false"
