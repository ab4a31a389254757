"""Options that have no use for some kinds of source, and what is said of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from realtime.errors import UsageError
from realtime.settings import Settings
from realtime.sources.base import SourceInfo

logger = logging.getLogger(__name__)

KINDS = {
    "camera": "a camera", "file": "a video file", "url": "a stream",
    "web": "a video on a web server", "images": "images", "demo": "the demo scene",
}  # fmt: skip
"""Every source is one of these."""
KINDS_AND_MORE = {
    **KINDS, "live": "live sources", "independent": "independent images",
    "explain": "the one frame of --explain", "unseen": "a run without pictures",
    "unrecorded": "a run without a video", "blurred": "a run with --blur-faces",
}  # fmt: skip
"""And some are one of the others as well, or what is made of them is."""
BATCH = "batch"
"""What a batch works on. It refuses options that it has no use for."""


class Refused(str):
    """Where something else than what was asked for would come out: an error and not a warning."""


def _only(*kinds: str) -> dict[str, str]:
    """Of an option that is for these alone."""
    meant = "it is for " + " or ".join(KINDS[kind] for kind in kinds)
    return {kind: meant for kind in KINDS if kind not in kinds}


_FILES = "it is for files"
_VIDEO = "add --sequence if they are those of a video"
_RUN = {"explain": "it is for runs"}
_OTHER = {BATCH: "a batch is for video files"}
_WHOLE = {BATCH: "a batch works on whole files"}
_PICTURES = {BATCH: "is for pictures, which a batch does not make"}
_SEEN = _PICTURES | {"unseen": "give --output, --pictures, --serve or --show"}

NO_USE: dict[str, dict[str, str]] = {
    "device": _OTHER,
    "input": {BATCH: "in a batch, inputs stand together, before the options"},
    "start": _WHOLE,
    "end": _WHOLE,
    "stride": _WHOLE,
    "seed": _only("demo") | _OTHER,
    "sequence": _only("images") | _OTHER,
    "live": _only("demo") | _OTHER,
    "camera_size": _only("camera") | _OTHER,
    "camera_fps": _only("camera") | _OTHER,
    "no_wait": _only("url", "web") | _OTHER,
    "max_reconnects": _only("camera", "url") | _OTHER,
    "strict": _RUN | {"live": _FILES},
    "list_cameras": _OTHER,
    "output": {BATCH: "is for videos, which a batch does not make; results go to --out FOLDER"},
    "json": {BATCH: "in a batch, --data jsonl says it, and --out FOLDER where to"},
    "format": {BATCH: "in a batch, --data FORMAT says it"},
    "screenshot": _PICTURES,
    "pictures": _PICTURES,
    "crf": _PICTURES | {"unrecorded": "give --output FILE.mp4"},
    "show": _PICTURES,
    "fullscreen": _PICTURES,
    "headless": {BATCH: "a batch never opens a window; leave it out"},
    "serve": _PICTURES,
    "mirror": _RUN | _SEEN,
    "overlay": _RUN | _SEEN,
    "blur_faces": _SEEN,
    "explain": _PICTURES,
    "explain_frame": _PICTURES,
    "angles": _RUN,
    "compare": _PICTURES,
    "threads": {BATCH: "in a batch, --cores-each says it"},
    "detect_every": _RUN | {"independent": _VIDEO, "blurred": "it looks at every frame"},
    "bridge": _RUN | {"live": _FILES, "independent": _VIDEO},
    "batch": _RUN | {"live": _FILES},
    "smooth": _RUN | {"independent": _VIDEO},
    "fix_swaps": _RUN | {"independent": _VIDEO},
    "select": _RUN
    | {
        "independent": Refused(
            f"independent images have nobody who could be followed from one to the next; {_VIDEO}"
        ),
        BATCH: "a batch keeps everybody; realtime.clean --id N takes one person out of a result",
    },
}
"""By the name in Settings: what the option has no use for, and what to say or to do instead."""
NOTHING = {"bridge": 0, "detect_every": 1, "smooth": "off"}
"""Values that ask for what is done without use as well."""


def refuse(settings: Settings, kind: str) -> None:
    """Raise UsageError for an option that would do something else than asked for to this kind of
    source."""
    for name, row in NO_USE.items():
        if isinstance(row.get(kind), Refused) and _asked(settings, name):
            raise UsageError(f"{_words(settings, name)}: {row[kind]}")


def say_what_is_idle(
    settings: Settings, infos: Sequence[SourceInfo], pictures: bool = True
) -> None:
    """A warning for each option given that does nothing to any of these sources. pictures: some are
    made of them."""
    run = ["explain"] * bool(settings.explain) + ["unseen"] * (not pictures)
    run += ["unrecorded"] * (settings.output is None) + ["blurred"] * settings.blur_faces
    kinds = [run + _kinds_of(info) for info in infos]
    for name, row in NO_USE.items():
        idle = [next((kind for kind in of_one if kind in row), "") for of_one in kinds]
        if all(idle) and _asked(settings, name):
            there = [kind for kind in KINDS_AND_MORE if kind in idle]
            logger.warning(
                "%s: nothing is done to %s; %s",
                _words(settings, name),
                " and ".join(KINDS_AND_MORE[kind] for kind in there),
                "; ".join(dict.fromkeys(row[kind] for kind in there)),
            )


def _kinds_of(info: SourceInfo) -> list[str]:
    kind = "web" if info.kind == "url" and not info.live else info.kind
    return [kind, *["live"] * info.live, *["independent"] * info.independent]


def _asked(settings: Settings, name: str) -> bool:
    return settings.gives(name) and getattr(settings, name) != NOTHING.get(name)


def _words(settings: Settings, name: str) -> str:
    """As it stands on the command line."""
    value = getattr(settings, name)
    return f"--{name.replace('_', '-')}" + (f" {value}" if isinstance(value, str) else "")
