"""Where a figure comes from: versions, commit and hardware, which stand in every row."""

import os
import platform
import subprocess
from pathlib import Path

import torch

from .. import __version__


def commit() -> str | None:
    """The commit of this clone, with -dirty when files were changed; None without git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def hardware(device: torch.device) -> str:
    """What the work ran on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} threads"


def provenance(device: torch.device) -> dict:
    """Versions, commit and hardware of this process, ready for JSON.

    Args:
        device: The device that it works on.

    Returns:
        "versions", "commit" and "hardware".
    """
    versions = {
        "minildm": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return {"versions": versions, "commit": commit(), "hardware": hardware(device)}
