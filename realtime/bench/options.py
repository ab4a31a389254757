"""Which options go with --bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.errors import UsageError

if TYPE_CHECKING:
    from realtime.settings import Settings

STREAMS = 256
"""Most cameras at once; each has four threads."""

OWN_PICTURES = (
    "device", "input", "start", "stride", "sequence", "live", "camera_size", "camera_fps",
    "no_wait", "max_reconnects", "strict", "list_cameras",
)  # fmt: skip
"""Options about an input, of which a benchmark has its own."""
NOTHING_KEPT = (
    "output", "json", "data", "format", "screenshot", "pictures", "status_file", "crf", "segment",
    "record_required", "min_free", "show", "fullscreen", "serve", "explain", "explain_frame",
    "min_score", "compare",
)  # fmt: skip
"""Options about results, of which a benchmark keeps none; everybody in view is worked on."""


def check_bench(s: Settings) -> None:
    """Raise UsageError for options that mean nothing with --bench, and for --streams without."""
    if not s.bench:
        if s.streams is not None:
            raise UsageError("--streams goes with --bench")
        return
    if s.streams is not None and not 1 <= s.streams <= STREAMS:
        raise UsageError(f"--streams {s.streams}: expected 1 to {STREAMS}")
    for names, why in (
        (OWN_PICTURES, "--bench measures with pictures of its own"),
        (NOTHING_KEPT, "--bench keeps no results but --report"),
    ):
        for name in names:
            if s.gives(name):
                raise UsageError(f"{why}; leave --{name.replace('_', '-')} out")
    if s.end and not s.span.end:
        raise UsageError(f"--end {s.end}: with --bench, how long each measurement takes: 60 or 4s")
