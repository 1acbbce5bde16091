"""`minildm train`: the flags of a run, what is said of it, and Ctrl-C; also under `torchrun`."""

import shlex
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ..api.training import fit, prepare
from ..models.base import LanguageModel
from ..models.registry import MODEL_TYPES
from ..training.config import learning_rate
from ..training.distributed import DistributedContext, join, leave
from ..training.loop import Trainer
from ..training.runs import Run
from .flags import TrainFlags, parse, run_of

INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


def train(run: Run, flags: TrainFlags, command: str, context: DistributedContext) -> None:
    """Train to the end, from the last checkpoint in the run's folder if there is one."""
    quiet = flags.quiet or context.rank > 0
    said = tqdm.write if context.rank == 0 else str
    trainer, corpus = prepare(run, flags.out, context, quiet, command)
    if run.train.bf16 and not trainer.config.bf16:
        said("this processor has no bfloat16 arithmetic: the training is in float32")
    if trainer.resume():
        said(resumed(trainer))
    try:
        fit(trainer, corpus, quiet)
    except KeyboardInterrupt:
        said(f"{interrupted(trainer)}\n    {command}")
        raise SystemExit(INTERRUPTED) from None
    said(
        f"trained to step {trainer.step}: checkpoints and the metrics log are in {trainer.run}; "
        f"go on with\n{next_commands(trainer.model, trainer.run)}"
    )


def resumed(trainer: Trainer) -> str:
    """What a run says that goes on from a checkpoint."""
    steps = trainer.config.steps
    lines = [f"resumed {trainer.run} at step {trainer.step} of {steps}"]
    if trainer.planned != steps:
        lines.append(schedule(trainer))
    if trainer.step == steps:
        lines.append("all its steps are made: to train on, give more of them by --train.steps")
    return "\n".join(lines)


def schedule(trainer: Trainer) -> str:
    """What another number of steps means for the learning rate of a run that goes on."""
    c, step = trainer.config, trainer.step
    old = learning_rate(step, replace(c, steps=trainer.planned))
    new = learning_rate(step, c)
    return (
        f"the training has {c.steps} steps instead of {trainer.planned}, and its learning rate "
        f"falls over all of them: at step {step} it is {new:.2e} where it was to be {old:.2e}"
    )


def interrupted(trainer: Trainer) -> str:
    """What is saved of a run that was stopped, before the command that goes on with it."""
    if trainer.saved is None:
        return "stopped before the first checkpoint, so nothing is saved; begin again with"
    return (
        f"stopped; {trainer.run} is saved at step {trainer.saved} of {trainer.config.steps} "
        "and goes on from there with"
    )


def next_commands(model: LanguageModel, run: Path) -> str:
    """What to do with a trained run, as commands for the shell."""
    place = shlex.quote(str(run))
    use = f"minildm sample {place}"
    if not model.capabilities.writes:
        name, foundation = next(
            (name, entry.foundation)
            for name, entry in MODEL_TYPES.items()
            if entry.foundation and entry.foundation.role == "space"
        )
        use = f"minildm train {name} --{foundation.flag} {place}"
    return f"    {use}\n    minildm evaluate {place}"


def main(argv: list[str]) -> None:
    """Parse the flags, train alone or in a group, and say how to go on."""
    model_type, flags = parse(argv)
    command = shlex.join(["minildm", "train", *argv])
    try:
        train(run_of(model_type, flags), flags, command, join())
    finally:
        leave()
