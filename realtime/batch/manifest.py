"""What is finished: a small JSON file for each input, beside the results in .batch/.

A file counts as done when its record says so for the same input, settings and weights, and its
results are there. Before results are written the record says "writing", so that those of a run
that was killed meanwhile are known as ours.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from realtime.batch.items import Item, same
from realtime.batch.join import SUFFIXES, Look
from realtime.batch.plan import Segment
from realtime.batch.store import Store
from realtime.errors import OutputError
from realtime.masking import mask_credentials
from realtime.version import VERSION

FOLDER = ".batch"


def settings_key(
    options: dict[str, Any], weights: dict[str, str], look: Look, seconds: float
) -> dict[str, Any]:
    """All that the results depend on beside the input, as JSON values; networks by their content,
    not by where they lie."""
    plain = {name: value for name, value in options.items() if name not in weights}
    return {
        "version": VERSION,
        "options": {name: str(value) for name, value in sorted(plain.items())},
        "weights": weights,
        "look": asdict(look),
        "segment": seconds,
    }


class Manifest:
    """The records of one batch. settings: see settings_key()."""

    def __init__(self, store: Store, settings: dict[str, Any], look: Look, overwrite: bool) -> None:
        self._store, self._settings, self._look = store, settings, look
        self._overwrite = overwrite

    def key(self, item: Item) -> str:
        """SHA-256 of input and settings; another one for files that cannot be read."""
        text = json.dumps([item.mark, self._settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def outputs(self, item: Item) -> dict[str, str]:
        """The names of the results by format."""
        return {kind: item.name + SUFFIXES[kind] for kind in self._look.formats}

    def record(self, item: Item) -> dict[str, Any]:
        """What is on record for an item; empty when nothing is."""
        data = self._store.read(self._name(item))
        try:
            found = json.loads(data) if data else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def is_done(self, item: Item) -> bool:
        """Whether nothing is left to do for it."""
        found = self.record(item)
        same = bool(item.mark) and found.get("key") == self.key(item)
        return (
            same
            and found.get("state") == "done"
            and all(map(self._store.has, self.outputs(item).values()))
        )

    def check_ours(self, item: Item) -> None:
        """Raise OutputError when a result is there that no batch has written, or that is of another
        input: a changed file, or one that was moved as it is, is none."""
        if self._overwrite:
            return
        ours = self._written(item)
        for name in self.outputs(item).values():
            if name not in ours and self._store.has(name):
                raise OutputError(f"{name}: exists; use --overwrite to replace it")
        found = self.record(item)
        other = found.get("input")
        if not isinstance(other, str) or found.get("mark") == item.mark or same(other, item.where):
            return
        for name in sorted(ours):
            if self._store.has(name):
                told = f"is the result of {mask_credentials(other)}"
                raise OutputError(f"{name}: {told}; use --overwrite or another --out")

    def _written(self, item: Item) -> set[str]:
        """The results that batches with any options have written for an item."""
        found = self.record(item)
        outputs, written = found.get("outputs"), found.get("written")
        names = [*(outputs.values() if isinstance(outputs, dict) else ())]
        names += written if isinstance(written, list) else []
        return {name for name in names if isinstance(name, str)}

    def finish(self, item: Item, files: dict[str, bytes], told: dict[str, Any]) -> None:
        """Write the results and then that they are there. Raises OutputError."""
        outputs = self.outputs(item)
        told = {**told, "written": sorted(self._written(item) | set(outputs.values()))}
        record = {
            "input": item.where, "bytes": item.size, "mark": item.mark, "key": self.key(item),
            "settings": self._settings, "outputs": outputs, **told,
        }  # fmt: skip
        self._put(item, {**record, "state": "writing"})
        for kind, name in outputs.items():
            self._store.write(name, files[kind])
        self._put(item, {**record, "state": "done"})

    def part_name(self, item: Item, segment: Segment) -> str:
        """Where the poses of a segment wait for the others."""
        return f"{FOLDER}/{item.name}.parts/{self.key(item)[:20]}-{segment.first}.npz"

    def _name(self, item: Item) -> str:
        return f"{FOLDER}/{item.name}.json"

    def _put(self, item: Item, record: dict[str, Any]) -> None:
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        self._store.write(self._name(item), text.encode("utf-8", "backslashreplace"))
