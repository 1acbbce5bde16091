"""A study as rows in a file: each is written as soon as it is finished, and a second start goes on behind it."""

import json
from pathlib import Path

import torch

from minildm.evaluation.provenance import provenance


def begun(out: Path, **facts) -> dict:
    """The study in a file, or a new one with `facts` and no rows."""
    return json.loads(out.read_text()) if out.exists() else {**facts, "rows": []}


def keep(out: Path, study: dict, *rows: dict) -> None:
    """Add rows to a study and write it, with where its figures come from."""
    study["rows"] += rows
    study |= provenance(torch.device("cpu"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(study, indent=1) + "\n")
    print(json.dumps(rows[-1]), flush=True)
