"""Configuration files."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path
from typing import Any

from realtime.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_table(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file. Raises UsageError."""
    try:
        data = path.read_bytes()
        # What > of Windows PowerShell writes is UTF-16.
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
        table: dict[str, Any] = tomllib.loads(text)
        return table
    except OSError as error:
        raise UsageError(f"{path}: cannot read the configuration: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file; expected a TOML file") from None
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path}: not a TOML file: {reason}") from None
