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

from ..errors import UserError, reason


def write_folder(folder: Path, tensors: dict[str, dict[str, Tensor]], card: dict) -> None:
    """Write files of tensors and a card into a new folder, all or nothing.

    Args:
        folder: Which must not be half there at any moment.
        tensors: File name -> tensor name -> tensor.
        card: JSON-able.

    Raises:
        UserError: When the disk refuses.
    """
    beside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for name, group in tensors.items():
            save_file(
                {k: v.detach().contiguous() for k, v in group.items()},
                beside / f"{name}.safetensors",
            )
        (beside / "card.json").write_text(json.dumps(card, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"could not save {folder}: {reason(error)}; free some space, then repeat the command, "
            "which goes on from the last checkpoint"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # after a renaming it is gone


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file, or say in one sentence why it cannot be read."""
    try:
        return load_file(path, device=device)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {path}: name a checkpoint folder or a model of the zoo"
        ) from error
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is truncated or damaged ({reason(error)}): "
            "delete its folder and use an earlier checkpoint"
        ) from error


def read_card(folder: Path, name: str = "card.json") -> dict:
    """Read the card of a checkpoint folder.

    Args: `folder`; `name` of the card in it. Returns its fields by name. Raises UserError when it cannot be read or is no card.
    Derived in chapter 16. Source: ours.
    """
    try:
        card = json.loads((Path(folder) / name).read_text(encoding="utf-8"))
        fault = None if isinstance(card, dict) else "it holds no fields"
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a checkpoint: it has no {name}") from error
    except (OSError, ValueError, RecursionError) as error:
        fault = reason(error)
    if fault:
        raise UserError(
            f"{folder}/{name} is damaged ({fault}): delete its folder and use an earlier checkpoint"
        )
    return card


def progress(folder: Path) -> dict:
    """The card of a checkpoint of a run, with the fields that a run needs to go on.

    Args: `folder`. Returns the fields by name. Raises UserError when one is missing or of another type.
    Derived in chapter 16. Source: ours.
    """
    card = read_card(folder)
    types = {"config": dict, "step": int, "best": str | None, "best_score": float | int | None}
    wrong = [
        name for name, kind in types.items() if name not in card or not isinstance(card[name], kind)
    ]
    if (
        wrong
        or (card["best"] and card["best_score"] is None)
        or folder.name != f"step_{card['step']:07d}"
    ):
        raise UserError(
            f"{folder}/card.json is damaged ({', '.join(wrong) or 'its fields contradict each other'}): "
            "delete its folder and use an earlier checkpoint"
        )
    return card


def planned(folder: Path, train: dict) -> int:
    """The number of steps of the whole training, as the card of a checkpoint has it.

    Args:
        folder: Of the checkpoint, for sentences.
        train: That part of its configuration.

    Returns:
        The number.

    Raises:
        UserError: When it is none.
    """
    steps = train.get("steps")
    if type(steps) is not int or steps < 1:
        raise UserError(
            f"{folder}/card.json is damaged (config.train.steps is {steps!r}): "
            "delete its folder and use an earlier checkpoint"
        )
    return steps


def differences(old, new, name: str = "") -> list[str]:
    """What differs between two configurations, field by field.

    Args:
        old, new: JSON-able.
        name: Of them, for a part of a configuration.

    Returns:
        One text a difference.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in {**old, **new}
            for line in differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    return [f"{name} was {old} and is {new}"] if old != new else []


def check(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Refuse tensors whose names, shapes or kinds of numbers are not those of a model's trained
    weights.

    Args:
        model: Which may be without storage.
        tensors: Name -> tensor.
        source: What they come from, for sentences.

    Raises:
        UserError: When they are those of another model.
    """
    own = trained_state(model)
    for name in own.keys() | tensors.keys():
        if name not in tensors or name not in own:
            raise UserError(
                f"{source} is a checkpoint of another model: "
                f"{name} is only in {'it' if name in tensors else 'this one'}"
            )
        if own[name].shape != tensors[name].shape:
            raise UserError(
                f"{source} does not fit the configuration: {name} has shape {tuple(tensors[name].shape)}, "
                f"not {tuple(own[name].shape)}; use the vocabulary and sizes it was trained with"
            )
        if own[name].is_floating_point() != tensors[name].is_floating_point():
            raise UserError(
                f"{source} is damaged: {name} has numbers of type {tensors[name].dtype}, not {own[name].dtype}"
            )


def fit(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load tensors into a model whose trained names and shapes must be exactly these.

    Args:
        model: The model.
        tensors: Name -> tensor.
        source: What they come from, for sentences.

    Raises:
        UserError: When they are those of another model.
    """
    check(model, tensors, source)
    model.load_state_dict(tensors, strict=False)


def trained_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """What a checkpoint keeps of a model: all but its frozen network.

    Args:
        model: The model.

    Returns:
        Name -> tensor.
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

    Args:
        config: A dataclass.

    Returns:
        Its fields by name, tuples as lists.
    """
    return json.loads(json.dumps(asdict(config)))
