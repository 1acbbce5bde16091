"""The one exception for a mistake of the user, and ways to write files that raise it."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError


class UserError(ValueError):
    """A mistake of the user: one sentence says what was wrong and what to do.

    The command line prints it and exits with 2.
    """


def reason(fault: Exception) -> str:
    """Why a file could not be read or written, in the system's words and on one line.

    Args:
        fault: An OSError or another error of a reader.

    Returns:
        The reason.
    """
    return " ".join(str(getattr(fault, "strerror", None) or fault or type(fault).__name__).split())


def expand(path: str | Path, advice: str = "write the whole path") -> Path:
    """A path with the home folder in the place of ~.

    Args:
        path: Which may begin with ~.
        advice: What to do where there is no such home.

    Returns:
        The path.

    Raises:
        UserError: When the home of ~ or ~NAME is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"there is no home folder for {path}: {advice}") from None


def check_place(folder: Path, advice: str = "choose another place") -> None:
    """Refuse a folder in which nothing can be written, before long work begins.

    Args:
        folder: Which need not exist yet.
        advice: What to do then.

    Raises:
        UserError: When it cannot be made or written.
    """
    try:
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryDirectory(dir=nearest, suffix=".tmp"):
            pass
    except OSError as fault:
        raise UserError(f"{folder} cannot be written ({reason(fault)}): {advice}") from None


def write_atomically(path: Path, put: Callable[[Path], object]) -> None:
    """Let `put` write a file beside its place, then rename it, so that it is never there in part.

    Args:
        path: Of the file.
        put: Writes to the path that it is given.

    Raises:
        UserError: When the place cannot be written.
    """
    beside = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(beside)
        beside.replace(path)
    except (OSError, SafetensorError) as fault:
        raise UserError(
            f"{path} cannot be written ({reason(fault)}): choose another place"
        ) from None
    finally:
        with suppress(OSError):  # after a renaming it is gone
            beside.unlink()
