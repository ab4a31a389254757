"""The source distribution: the tests can run from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from commandline import ROOT

FOLDERS = ("tests", "docs", "benchmarks")
SKIPPED = shutil.ignore_patterns("__pycache__", "*.onnx", ".*", "build", "dist", "*.egg-info")


def test_it_holds_tests_with_their_helpers_and_documents(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="needs what builds packages")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.name in (*FOLDERS, "engines", "realtime", "train"):
            shutil.copytree(path, copy / path.name, ignore=SKIPPED)
        elif path.is_file():
            shutil.copy(path, copy)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    files = [path for folder in FOLDERS for path in (copy / folder).rglob("*") if path.is_file()]
    wanted = {path.relative_to(copy).as_posix() for path in files}
    assert len(wanted) > 100 and wanted | {"CHANGELOG.md", "ruff.toml"} <= held
