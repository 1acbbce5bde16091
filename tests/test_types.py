"""The type checker finds no error: basic in the package, strict in four rooms."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .repository import ROOT


@pytest.mark.slow
def test_types_are_complete():
    checker = shutil.which("basedpyright", path=Path(sys.executable).parent)
    assert checker, "install the extra `dev`"
    found = subprocess.run([checker], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
