"""What a training measures: losses that must be finite, a log of JSON lines, shown figures."""

import json
import os
import shutil
import textwrap
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError, reason, write_atomically
from ..models.base import Losses
from .checkpoint import read_card, steps_saved

NAME = "metrics.jsonl"
RENAMED_LOG = "journal.jsonl"  # the same file in runs of versions before 0.2


def metrics_path(run: Path) -> Path:
    """The metrics log of a run, also of one that an older version began.

    Args:
        run: Folder of the run.

    Returns:
        The path of the file, which need not exist yet.
    """
    old = Path(run) / RENAMED_LOG
    new = Path(run) / NAME
    return old if old.exists() and not new.exists() else new


class MetricsLog:
    """The metrics of a run, one JSON object a line; a run that resumes cuts it back to its step.

    Opening it at a step drops every line written after that step.
    """

    def __init__(self, run: Path, step: int = 0):
        before = metrics_path(run)
        kept = [line for line in read_metrics(before) if line["step"] <= step] if step else []
        self.path = Path(run) / NAME
        text = "".join(json.dumps(line) + "\n" for line in kept)
        write_atomically(self.path, lambda beside: beside.write_text(text))
        (Path(run) / RENAMED_LOG).unlink(missing_ok=True)

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
                f"{self.path} cannot be written ({reason(fault)}): free some space, "
                "then repeat the command, which goes on from the last checkpoint"
            ) from None


def read_metrics(path: Path) -> list[dict]:
    """Read the lines of a metrics log; a last line cut off by a crash is left out.

    Args:
        path: Path of the file.

    Returns:
        One dict a line, in order, each with its step; none where there is no file.

    Raises:
        UserError: On what is no metrics log.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]
        if not all(isinstance(line["step"], int) for line in lines):
            raise TypeError("a step is no whole number")
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as fault:
        raise UserError(
            f"{path} is damaged ({reason(fault)}): "
            "delete it; the checkpoints beside it do not need it"
        ) from None
    return lines


def minutes(run: Path) -> float:
    """Minutes that the steps of a run took, from the speeds in its metrics log.

    Args:
        run: Folder of the run.

    Returns:
        Minutes.

    Raises:
        UserError: When the log or the last checkpoint does not say it.
    """
    try:
        lines = [line for line in read_metrics(metrics_path(run)) if line["kind"] == "step"]
        config = read_card(steps_saved(run)[-1])["config"]
        tokens = config["train"]["batch"] * config["model"]["seq_len"] * lines[-1]["step"]
        return tokens * sum(1 / line["tokens_per_s"] for line in lines) / len(lines) / 60
    except (KeyError, TypeError, IndexError, ZeroDivisionError) as fault:
        raise UserError(
            f"the metrics log of {run} does not say how long it took ({reason(fault)}): "
            "train it again"
        ) from None


def mean_losses(parts: list[Losses]) -> Losses:
    """The losses of a batch from those of its parts of equal size, without their graphs."""

    def mean(values: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {
            name: torch.stack([part[name].detach() for part in values]).mean(0)
            for name in values[0]
        }

    return Losses(mean([part.terms for part in parts]), mean([part.metrics for part in parts]))


def refuse_nan(losses: Losses, norm: Tensor, tokens: Tensor, step: int, run: Path) -> None:
    """Stop at a number that is not finite, naming the first and saving the batch.

    Args:
        losses: Of the step; its terms are looked at, waiting once for the device.
        norm: Of the gradient.
        tokens: The batch.
        step: Number of the step.
        run: Folder of the run, where the batch is saved.

    Raises:
        UserError: When a term or the norm is not finite.
    """
    numbers = {f"loss term {name}": value for name, value in losses.terms.items()}
    numbers["norm of the gradient"] = norm
    finite = torch.stack([value.detach().float() for value in numbers.values()]).isfinite().tolist()
    for (name, value), good in zip(numbers.items(), finite):
        if not good:
            path = run / "bad_batch.safetensors"
            write_atomically(path, lambda beside: save_file({"tokens": tokens.cpu()}, beside))
            raise UserError(
                f"the {name} is {value.item()} at step {step}: the batch is in {path}; "
                "lower --train.lr or take another --train.seed, and another --out"
            )


def plain(text: str) -> str:
    """A text on one line, with a question mark for each character that cannot be printed.

    Args:
        text: Any text.

    Returns:
        The line.
    """
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def report(step: int, figures: dict) -> str:
    """The figures of a step, and below them its text, in lines that fit the terminal.

    Args:
        step: Number of the step.
        figures: Numbers by name, and "text".

    Returns:
        The lines.
    """
    width = max(shutil.get_terminal_size().columns - 1, 40)
    numbers = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in figures.items()
        if name not in ("text", "score")
    ]
    heading = f"step {step}" + (": " + ", ".join(numbers) if numbers else "")
    indent = "    "
    text = plain(figures.get("text", ""))
    return "\n".join(
        (
            textwrap.fill(heading, width, subsequent_indent=indent),
            textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent),
        )
    )
