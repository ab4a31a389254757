"""Which files a run reads, so that none of its outputs replaces one of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from realtime.errors import InputError
from realtime.sinks.outfile import check_not_input


def check_no_input(
    outputs: Iterable[Path | None], inputs: Sequence[str], networks: Iterable[Path | None]
) -> None:
    """Raise UsageError when one of the outputs is there and is the file of an input, one of its
    images, or a network, also by way of a link. Reads folders, opens nothing."""
    if there := [output for output in outputs if output and os.path.lexists(output)]:
        files = [*filter(None, networks), *files_of(inputs)]
        for output in there:
            check_not_input(output, files)


def files_of(names: Sequence[str]) -> list[Path]:
    """The files and folders that inputs are made of, with the images of folders and patterns; for
    addresses, the demo scene and what does not exist, names of nothing."""
    from realtime.sources.images import images_of  # slow, and seldom needed

    found = []
    for name in names:
        found.append(Path(name))
        with suppress(InputError):  # no images
            found += images_of(name)
    return found
