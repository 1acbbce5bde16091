"""The record of a study: rows in a JSON file, each written as soon as it is measured."""

import json
import time
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError, write_atomically
from ..evaluation.provenance import provenance

RESULTS = Path(__file__).parent / "results"


def results(name: str) -> dict[str, Any]:
    """The committed record of a study.

    Args:
        name: Of the study, for example ch12_recipe.

    Returns:
        Its "rows", what all of them share, and where they come from.
    """
    return json.loads((RESULTS / f"{name}.json").read_text())


class Record:
    """Rows of a study in a file, which a second start of the study continues.

    Args:
        out: JSON file, new or of an earlier start.
        facts: What all rows share, as JSON.

    Raises:
        UserError: When the file was made with other facts.
    """

    def __init__(self, out: Path, **facts: Any):
        self.out = out
        self.study = json.loads(json.dumps(facts)) | {"minutes": 0.0, "rows": []}
        self.began = time.process_time()
        if out.exists():
            earlier = json.loads(out.read_text())
            changed = [name for name in facts if earlier.get(name) != self.study[name]]
            if changed:
                raise UserError(
                    f"{out} was made with other settings ({', '.join(changed)}): "
                    "choose another --out"
                )
            self.study |= earlier

    def __contains__(self, case: dict[str, Any]) -> bool:
        """Whether a row of this case has been measured."""
        return any(case.items() <= row.items() for row in self.study["rows"])

    def add(self, *rows: dict[str, Any]) -> None:
        """Keep rows, write the file, and print the numbers of the last row."""
        now = time.process_time()
        self.study["minutes"] += (now - self.began) / 60
        self.began = now
        self.study["rows"] += rows
        self.study |= provenance(torch.device("cpu"))
        text = json.dumps(self.study, indent=1) + "\n"
        write_atomically(self.out, lambda beside: beside.write_text(text))
        short = {k: v for k, v in rows[-1].items() if not isinstance(v, dict | list)}
        print(json.dumps(short), flush=True)
