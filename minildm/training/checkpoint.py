"""Checkpoints: safetensors and JSON in a folder, written beside and renamed, never pickled."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError, reason
from .renamed import current_card, current_weights

RENAMED_EMA = "average.safetensors"  # the averaged weights in checkpoints before version 0.2
EARLIER = "delete its folder and use an earlier checkpoint"


@contextmanager
def hold(run: Path) -> Iterator[None]:
    """Hold the folder of a run, so that no other process trains in it.

    Args:
        run: Folder of the run.

    Returns:
        A context in which it is held.

    Raises:
        UserError: When another process holds it, or it cannot be written.
    """
    lock = FileLock(run / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"another process trains in {run}: wait for it, or choose another --out"
        ) from error
    except OSError as fault:
        raise UserError(
            f"{run} cannot be written ({reason(fault)}): choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_folder(folder: Path, tensors: dict[str, dict[str, Tensor]], card: dict) -> None:
    """Write files of tensors and a card into a new folder, all or nothing.

    Args:
        folder: Path of the folder, which is never half there.
        tensors: File name -> tensor name -> tensor.
        card: JSON-able fields by name.

    Raises:
        UserError: When the disk refuses.
    """
    beside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        for name, group in tensors.items():
            plain = {k: v.detach().contiguous() for k, v in group.items()}
            save_file(plain, beside / f"{name}.safetensors")
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
    """Read a safetensors file, or say in one sentence why it cannot be read.

    Args:
        path: Path of the file.
        device: Device of the tensors.

    Returns:
        Name -> tensor.

    Raises:
        UserError: When there is no such file, or it is damaged.
    """
    try:
        return current_weights(load_file(path, device=device))
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {path}: name a checkpoint folder or a model of the zoo"
        ) from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or damaged ({reason(error)}): {EARLIER}") from error


def read_card(folder: Path, name: str = "card.json") -> dict:
    """Read the card of a checkpoint folder.

    Args:
        folder: Path of the folder.
        name: Name of the card in it.

    Returns:
        Fields by name.

    Raises:
        UserError: When it cannot be read or is no card.
    """
    try:
        card = json.loads((Path(folder) / name).read_text(encoding="utf-8"))
        fault = None if isinstance(card, dict) else "it holds no fields"
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a checkpoint: it has no {name}") from error
    except (OSError, ValueError, RecursionError) as error:
        fault = reason(error)
    if fault:
        raise UserError(f"{folder}/{name} is damaged ({fault}): {EARLIER}")
    return current_card(card)


def check(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Refuse tensors that are not the trained weights of a model by name, shape and type.

    Args:
        model: The model, which may be without storage.
        tensors: Name -> tensor.
        source: What they come from, for messages.

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
        mine, found = own[name], tensors[name]
        if mine.shape != found.shape:
            raise UserError(
                f"{source} does not fit the configuration: {name} has shape {tuple(found.shape)}, "
                f"not {tuple(mine.shape)}; use the vocabulary and sizes it was trained with"
            )
        if mine.is_floating_point() != found.is_floating_point():
            raise UserError(
                f"{source} is damaged: {name} has numbers of type {found.dtype}, not {mine.dtype}"
            )


def fit(model: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load tensors into a model whose trained names and shapes must be exactly these.

    Args:
        model: The model.
        tensors: Name -> tensor.
        source: What they come from, for messages.

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


def ema_file(folder: Path) -> Path:
    """The file of the averaged weights of a checkpoint, also of one that an older version wrote.

    Args:
        folder: Path of the checkpoint.

    Returns:
        The path of the file.
    """
    old = folder / RENAMED_EMA
    return old if old.exists() else folder / "ema.safetensors"


def steps_saved(run: Path) -> list[Path]:
    """The checkpoints of a run.

    Args:
        run: Folder of the run.

    Returns:
        Their folders, oldest first.
    """
    return sorted(p for p in Path(run).glob("step_*") if p.is_dir() and not p.name.endswith(".tmp"))


def prune(run: Path, best: str | None, keep: int = 2) -> None:
    """Delete the checkpoints of a run but for the last and the best.

    Args:
        run: Folder of the run.
        best: Name of its best checkpoint, if evaluations had a score.
        keep: Number of last checkpoints that stay.
    """
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
