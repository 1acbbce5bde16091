"""The journal of a run: one JSON object a line, cut back to the checkpoint when a run resumes."""

import json
import os
from contextlib import suppress
from pathlib import Path

from ..errors import UserError, reason, write_atomically


class Journal:
    """Append-only JSON lines; opening it at a step drops every line written after that step."""

    def __init__(self, path: Path, step: int = 0):
        self.path = path
        kept = (
            [line for line in read_journal(path) if line["step"] <= step]
            if path.exists() and step
            else []
        )
        write_atomically(
            path,
            lambda beside: beside.write_text("".join(json.dumps(line) + "\n" for line in kept)),
        )

    def write(self, **line) -> None:
        """Add a line, whole or not at all."""
        before = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as fault:
            with suppress(OSError):
                os.truncate(self.path, before)
            raise UserError(
                f"{self.path} cannot be written ({reason(fault)}): free some space, then repeat the command, "
                "which goes on from the last checkpoint"
            ) from None


def read_journal(path: Path) -> list[dict]:
    """Read the lines of a journal; a last line cut off by a crash is left out.

    Args:
        path: Of the file.

    Returns:
        One dict a line, in order, each with its step.

    Raises:
        UserError: On what is no journal.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]
        if not all(isinstance(line["step"], int) for line in lines):
            raise TypeError("a step is no whole number")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as fault:
        raise UserError(
            f"{path} is damaged ({reason(fault)}): delete it; the checkpoints beside it do not need it"
        ) from None
    return lines
