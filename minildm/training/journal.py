"""The journal of a run: one JSON object a line, cut back to the checkpoint when a run resumes."""

import json
from pathlib import Path


class Journal:
    """Append-only JSON lines; opening it at a step drops every line written after that step."""

    def __init__(self, path: Path, step: int = 0):
        self.path = path
        kept = [line for line in read_journal(path) if line["step"] <= step] if path.exists() and step else []
        beside = path.with_suffix(".tmp")
        beside.write_text("".join(json.dumps(line) + "\n" for line in kept))
        beside.replace(path)

    def write(self, **line) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_journal(path: Path) -> list[dict]:
    """Read the lines of a journal; a last line cut off by a crash is left out.

    Args: `path` of the file. Returns one dict a line, in order. Derived in chapter 16. Source: ours.
    """
    text = Path(path).read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
