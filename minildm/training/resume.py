"""Whether a run can go on from a checkpoint: a complete card, and the same settings and files."""

from pathlib import Path

from ..errors import UserError
from .checkpoint import EARLIER, read_card

CONTENTS = ("corpus", "tokenizer", "frozen")  # what a card says of the files that a run reads


def progress(folder: Path) -> dict:
    """The card of a checkpoint of a run, with the fields that a run needs to go on.

    Args:
        folder: Path of the checkpoint.

    Returns:
        Fields by name.

    Raises:
        UserError: When one is missing or of another type, or they contradict each other.
    """
    card = read_card(folder)
    fault = fault_of(card, folder.name)
    if fault:
        raise UserError(f"{folder}/card.json is damaged ({fault}): {EARLIER}")
    return card


def fault_of(card: dict, name: str) -> str | None:
    """What is wrong with the card of a run's checkpoint of this name, if anything is."""
    types = {"config": dict, "step": int, "best": str | None, "best_score": float | int | None}
    wrong = [key for key, t in types.items() if key not in card or not isinstance(card[key], t)]
    if wrong:
        return ", ".join(wrong)
    if name != f"step_{card['step']:07d}" or (card["best"] and card["best_score"] is None):
        return "its fields contradict each other"
    train = card["config"].get("train")
    steps = train.get("steps") if isinstance(train, dict) else None
    if type(steps) is not int or steps < 1:
        return f"config.train.steps is {steps!r}"
    return None


def changes(old: dict, new: dict, defaults: dict) -> list[str]:
    """What differs between a checkpoint and the run that is to go on from it, more steps aside.

    Args:
        old: Card of the checkpoint, which `progress` has read.
        new: Card of the run.
        defaults: Values of fields of config.train, for those that an old card does not have.

    Returns:
        One text a difference.
    """
    config = dict(old["config"])
    steps = new["config"]["train"]["steps"]
    config["train"] = {**defaults, **config["train"]}
    if old["step"] <= steps:
        config["train"]["steps"] = steps
    changed = differences(config, new["config"])
    for name in CONTENTS:
        if old.get(name) != new.get(name):
            changed.append(f"the contents of {name} are others")
    parts = old.get("parts", new["parts"])
    if parts != new["parts"]:
        changed.append(f"processes x accumulate was {parts} and is {new['parts']}")
    return changed


def differences(old, new, name: str = "") -> list[str]:
    """What differs between two configurations, field by field.

    Args:
        old: JSON-able value.
        new: JSON-able value.
        name: What both are called, when they are parts of a configuration.

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
