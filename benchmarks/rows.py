"""A study as rows in a file: each is written as soon as it is finished, and a second start goes on behind it."""

import json
import sys
from pathlib import Path

import torch

from minildm.evaluation.provenance import provenance


def begun(out: Path, key: str = "rows", **facts) -> dict:
    """The study in a file, which must have been made with these facts, or a new one with no rows under `key`."""
    facts = json.loads(json.dumps(facts))
    if not out.exists():
        return {**facts, key: []}
    study = json.loads(out.read_text())
    changed = [name for name, value in facts.items() if study.get(name) != value]
    if changed:
        sys.exit(
            f"{out} was made with another configuration ({', '.join(changed)}): choose another --out"
        )
    return study


def write(out: Path, study: dict, device: str = "cpu") -> None:
    """Write a study beside its place and rename it, with where its figures come from."""
    study |= provenance(torch.device(device))
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(out.name + ".tmp")
    beside.write_text(json.dumps(study, indent=1) + "\n")
    beside.replace(out)


def keep(out: Path, study: dict, *rows: dict, key: str = "rows") -> None:
    """Add rows to a study, write it, and print what of the last row is short."""
    study[key] += rows
    write(out, study)
    print(
        json.dumps(
            {name: value for name, value in rows[-1].items() if not isinstance(value, dict | list)}
        ),
        flush=True,
    )
