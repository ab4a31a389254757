"""Libraries that are missing: one line that names what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import ROOT, Result
from test_run import fails

MISSING = {
    "cv2": ("libGL.so.1: cannot open shared object file: No such file or directory", "libgl1"),
    "openvino": ("No module named 'openvino'", "pip install"),
    "av": ("libgthread-2.0.so.0: cannot open shared object file", "libglib2.0-0"),
}


@pytest.mark.parametrize("module", MISSING)
def test_a_library_that_cannot_be_loaded_is_one_line(tmp_path: Path, module: str) -> None:
    """A module of the same name that fails as the real one does in a bare container."""
    reason, remedy = MISSING[module]
    (tmp_path / f"{module}.py").write_text(f"raise ImportError({reason!r})\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUTF8": "1"}
    arguments = ["--input", "demo", "--headless", "--end", "1", "--engine", "openvino"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_camera.py"), *arguments],
        capture_output=True, text=True, env=env, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    fails(Result(done.returncode, done.stdout, done.stderr), 5, reason[:20], remedy)
