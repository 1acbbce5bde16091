"""Checkpoints: safetensors and JSON in a folder, written beside and renamed, never pickled."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError


def write_folder(folder: Path, tensors: dict[str, dict[str, Tensor]], card: dict) -> None:
    """Write files of tensors and a card into a new folder, all or nothing.

    Args: `folder`, which must not be half there at any moment; `tensors`, file name -> tensor name -> tensor;
    `card`, JSON-able. Returns nothing. Raises UserError when the disk refuses. Derived in chapter 16. Source: ours.
    """
    beside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for name, group in tensors.items():
            save_file({k: v.detach().contiguous() for k, v in group.items()}, beside / f"{name}.safetensors")
        (beside / "card.json").write_text(json.dumps(card, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise UserError(f"could not save {folder}: {error}; free some space, then resume") from error


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file, or say in one sentence why it cannot be read."""
    try:
        return load_file(path, device=device)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}: name a checkpoint folder or a model of the zoo") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or damaged ({error}): "
                        "delete its folder and use an earlier checkpoint") from error


def read_card(folder: Path, name: str = "card.json") -> dict:
    """Read the card of a checkpoint folder."""
    try:
        return json.loads((Path(folder) / name).read_text())
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a checkpoint: it has no {name}") from error
    except ValueError as error:
        raise UserError(f"{folder}/{name} is damaged ({error}): "
                        "delete its folder and use an earlier checkpoint") from error


def fit(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load tensors into a model whose trained names and shapes must be exactly these.

    Args: `model`; `tensors`, name -> tensor; `source`, what they come from, for sentences. Returns nothing. Raises UserError
    when they are those of another model. Derived in chapter 16. Source: ours.
    """
    own = trained_state(model)
    for name in own.keys() | tensors.keys():
        if name not in tensors or name not in own:
            raise UserError(f"{source} is a checkpoint of another model: "
                            f"{name} is only in {'it' if name in tensors else 'this one'}")
        if own[name].shape != tensors[name].shape:
            raise UserError(f"{source} does not fit the configuration: {name} has shape {tuple(tensors[name].shape)}, "
                            f"not {tuple(own[name].shape)}; use the vocabulary and sizes it was trained with")
    model.load_state_dict(tensors, strict=False)


def trained_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """What a checkpoint keeps of a model: all but its frozen network.

    Args: `model`. Returns name -> tensor. Derived in chapter 16. Source: ours.
    """
    return {k: v for k, v in model.state_dict().items() if not k.startswith("frozen.network.")}


def steps_saved(run: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first."""
    return sorted(p for p in Path(run).glob("step_*") if p.is_dir() and not p.name.endswith(".tmp"))


def prune(run: Path, best: str | None, keep: int = 2) -> None:
    """Delete all but the last `keep` checkpoints of a run and its best."""
    for folder in steps_saved(run)[:-keep]:
        if folder.name != best:
            shutil.rmtree(folder)


def config_card(config) -> dict:
    """A dataclass as JSON-able fields.

    Args: `config`, a dataclass. Returns its fields by name, tuples as lists. Derived in chapter 16. Source: ours.
    """
    return json.loads(json.dumps(asdict(config)))
