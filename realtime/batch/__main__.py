"""python -m realtime.batch: poses of many videos; see --help and docs/cluster.md."""

from __future__ import annotations

if __name__ == "__main__":
    from realtime.start import quietly

    quietly()

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

from realtime import console
from realtime.batch.options import Asked, parse
from realtime.errors import ModelError, PosestreamError, StageError
from realtime.start import heeded
from realtime.stop import ECHO

if TYPE_CHECKING:
    from realtime.batch.progress import Progress

REINSTALL = "run pip install . again"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a batch; the exit code. Errors are one line on standard error."""
    console.secure()
    try:
        return run(parse(argv))
    except ImportError as error:
        console.complain(ModelError(f"cannot load a library: {error}; {REINSTALL}"))
        return ModelError.exit_code
    except PosestreamError as error:
        console.complain(error)
        return error.exit_code
    except KeyboardInterrupt:  # before the workers began
        return 128 + signal.SIGINT
    finally:
        console.flush_stdout()


class _Signals:
    """The first of the signals that Stop handles asks for an end, the second does not ask."""

    def __init__(self) -> None:
        self.code: int | None = None
        self._at = 0.0

    def install(self) -> None:
        for number in heeded():
            signal.signal(number, self._on_signal)

    def asked(self) -> bool:
        return self.code is not None

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        code = 128 + number  # not 0: files are left
        if self.code is not None:
            if code == self.code and monotonic() - self._at < ECHO:
                return
            os._exit(code)
        self.code, self._at = code, monotonic()


def run(asked: Asked) -> int:
    """Find the files, see what is left to do, do it, tell. Raises PosestreamError."""
    from realtime.batch.items import find
    from realtime.batch.manifest import Manifest, settings_key
    from realtime.batch.progress import File, Progress
    from realtime.batch.schedule import Schedule, Wanted
    from realtime.batch.store import open_store
    from realtime.batch.team import RayTeam, Share

    items = find(asked.inputs)
    store, weights = open_store(asked.out), hashes(asked.options)
    settings = settings_key(asked.options, weights, asked.look, asked.segment)
    manifest = Manifest(store, settings, asked.look, asked.overwrite)
    files = [File(i, "skipped" if manifest.is_done(i) else "waiting") for i in items]
    progress, signals = Progress(files, asked.quiet), _Signals()
    with ExitStack() as cleanup:
        if any(file.state == "waiting" for file in files):
            share = Share(asked.cores_each, asked.gpus_each)
            team = RayTeam(asked.ray, asked.workers, share)
            cleanup.callback(team.close)
            signals.install()  # after Ray, which has handlers of its own
            wanted = Wanted(asked.options, weights, asked.look, asked.segment, asked.retries)
            cleanup.callback(_show_table, progress)
            Schedule(team, store, manifest, wanted, progress, signals.asked).run()
        else:
            _show_table(progress)
    codes = {file.code for file in files if file.state == "failed"}
    if signals.code is not None:
        return signals.code
    return codes.pop() if len(codes) == 1 else StageError.exit_code if codes else 0


def _show_table(progress: Progress) -> None:
    progress.close()
    with suppress(BrokenPipeError):  # the exit code says how it went
        print("\n".join(progress.table()), flush=True)


def hashes(options: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of the networks that a batch uses, by task. Raises ModelError."""
    from realtime.opening import model_spec
    from realtime.sources.base import SourceInfo

    info = SourceInfo("", "file")
    specs = {
        "detector": model_spec("detector", _path(options.get("detector")), info),
        "pose": model_spec("pose", _path(options.get("pose")), info),
    }
    return {task: spec.sha256 for task, spec in specs.items()}


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


if __name__ == "__main__":
    sys.exit(main())
