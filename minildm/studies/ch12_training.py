"""How validity grows while `ldlm-tales` is trained, from the metrics log of its run."""

from pathlib import Path

from ..errors import UserError
from ..training.metrics import metrics_path, read_metrics
from .record import Record


def run(
    out: Path = Path("runs/ch12_training.json"),
    trained: Path = Path("runs/ldlm-tales"),
    every: int = 1000,
) -> None:
    """How losses fall and validity grows while ldlm-tales is trained on a GPU.

    Args:
        out: File of the record.
        trained: Folder of the run, which the command in the card of ldlm-tales makes.
        every: Steps between the losses that are kept; evaluations are all kept.

    Raises:
        UserError: When the folder has no metrics log.
    """
    lines = read_metrics(metrics_path(trained))
    if not lines:
        raise UserError(f"{trained} holds no metrics log: name the folder of a run with --trained")
    record = Record(out, run=trained.name)
    for line in lines:
        if line not in record and (line["kind"] == "evaluation" or line["step"] % every == 0):
            record.add(line)
