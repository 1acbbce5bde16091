"""The training loop: one for every model, from two cores to a node of GPUs."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import UserError, reason
from ..models.base import LanguageModel, Losses
from ..text.batches import Batches
from . import checkpoint
from .config import TrainConfig, learning_rate, on_device
from .distributed import DistributedContext
from .ema import EMA
from .gradients import Gradients, compile_blocks
from .metrics import MetricsLog, refuse_nan, report
from .optim import make_optimizer
from .resume import changes, progress
from .stopping import patient

PAUSE = 60.0  # seconds after which a text is shown without an evaluation


class Trainer:
    """One run: a folder with checkpoints and a metrics log, which goes on exactly where it stopped.

    Args:
        model: To be trained; it is moved to the device of this process.
        rows: (rows, length) integers, the token ids of the corpus.
        config: How it is trained.
        run: Folder of the run, which need not exist yet.
        card: What the cards of checkpoints say beside their step; JSON-able, with a "config".
        context: This process among those that train.

    Raises:
        UserError: When the batch cannot be cut, a graph cannot be had, or the folder not be made.
    """

    def __init__(
        self,
        model: LanguageModel,
        rows: np.ndarray,
        config: TrainConfig,
        run: Path,
        card: dict,
        context: DistributedContext = DistributedContext(),
    ):
        self.config = config = on_device(config, context.device)
        self.run = Path(run)
        self.card = card
        self.context = context
        self.gradients = Gradients(model, config, context)
        self.model = model.to(context.device)
        self.batches = Batches(rows, config.batch, config.seed)
        self.optimizer = make_optimizer(model, config)
        self.ema = EMA(model, config.ema)
        self.log: MetricsLog | None = None  # of the first process, once it trains
        self.step = 0
        self.latest: tuple[Losses, Tensor, Tensor, int] | None = None  # what `check` looks at
        self.best: str | None = None  # checkpoint with the best score
        self.best_score = math.inf
        self.saved: int | None = None  # step of the last checkpoint
        self.planned = config.steps  # steps of the whole training, when that checkpoint was written
        try:
            self.run.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise UserError(
                f"{run} cannot be written ({reason(fault)}): choose another --out"
            ) from None

    def resume(self) -> bool:
        """Go back to the last checkpoint of this run; the number of steps may have become another.

        Returns:
            Whether there is one.

        Raises:
            UserError: When it is damaged or belongs to another configuration.
        """
        saved = checkpoint.steps_saved(self.run)
        if not saved:
            return False
        folder = saved[-1]
        card = progress(folder)
        own = {**self.card, "parts": self.gradients.parts}
        changed = changes(card, own, checkpoint.config_card(TrainConfig()))
        if changed:
            raise UserError(
                f"{folder} was trained with another configuration ({'; '.join(changed)}): "
                "repeat its flags and files or choose another --out"
            )
        files = {name: folder / f"{name}.safetensors" for name in ("model", "optimizer")}
        files["ema"] = checkpoint.ema_file(folder)
        device = str(self.context.device)
        tensors = {name: checkpoint.read_tensors(path, device) for name, path in files.items()}
        checkpoint.check(self.model, tensors["ema"], str(files["ema"]))
        checkpoint.fit(self.model, tensors["model"], str(folder))
        self.ema.weights = tensors["ema"]
        self.optimizer.load(tensors["optimizer"], str(files["optimizer"]))
        self.planned = card["config"]["train"]["steps"]
        self.step = self.saved = card["step"]
        self.best = card["best"]
        self.best_score = math.inf if self.best is None else card["best_score"]
        return True

    def save(self) -> None:
        """Write the checkpoint of this step, then delete older ones."""
        self.check()
        if self.context.rank == 0:
            tensors = {
                "model": checkpoint.trained_state(self.model),
                "ema": self.ema.weights,
                "optimizer": self.optimizer.tensors(),
            }
            card = {
                **self.card,
                "parts": self.gradients.parts,
                "step": self.step,
                "best": self.best,
                "best_score": self.best_score if math.isfinite(self.best_score) else None,
            }
            checkpoint.write_folder(self.run / f"step_{self.step:07d}", tensors, card)
            checkpoint.prune(self.run, self.best)
        self.saved = self.step
        self.context.barrier()

    def check(self) -> None:
        """Stop if the latest losses or their gradient are not finite."""
        if self.latest is not None:
            refuse_nan(*self.latest, self.run)

    def one_step(self, forward: Callable[..., Losses]) -> tuple[Losses, Tensor]:
        """Gradients, clipping, update, EMA; returns the losses and the norm of the gradient.

        What is not finite is refused before it reaches the weights; but a replayed step is not
        waited for, so it is looked at only before a line or a checkpoint is written.
        """
        c = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, c)
        batch = self.batches.at(self.step)
        losses = self.gradients(forward, batch, self.step)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        self.latest = (losses, norm, batch, self.step)
        if not c.cuda_graph:
            self.check()
        self.optimizer.step()
        self.model.after_step(self.step)
        self.ema.update(self.model, self.step)
        self.step += 1
        return losses, norm

    def fit(
        self,
        evaluate: Callable[[LanguageModel, int], dict] | None = None,
        quiet: bool = False,
        write: Callable[[LanguageModel], str] | None = None,
    ) -> None:
        """Train to the end.

        Args:
            evaluate: (model, step) -> figures by name; "score" (lower is better) picks the best
                checkpoint, and "text" is shown.
            quiet: Show nothing.
            write: model -> a text, shown once a minute where evaluations are rare.

        Raises:
            UserError: When another process trains in the folder, or a number is not finite.
            KeyboardInterrupt: After Ctrl-C, when the step that was under way is made and saved.
        """
        first = self.context.rank == 0
        alone = checkpoint.hold(self.run) if first else nullcontext()
        with alone, patient(self.context.world == 1) as asked:
            self.train(evaluate, quiet or not first, write, asked)

    def train(
        self,
        evaluate: Callable[[LanguageModel, int], dict] | None,
        quiet: bool,
        write: Callable[[LanguageModel], str] | None,
        asked: list[bool],
    ) -> None:
        """The steps of `fit`, for whoever holds the run's folder."""
        c = self.config
        forward = self.begin()
        named = {"desc": self.run.name, "disable": quiet, "mininterval": 1, "dynamic_ncols": True}
        with tqdm(total=c.steps, initial=self.step, **named) as bar:
            seconds = []  # of the steps since the last line
            shown = time.monotonic()
            while self.step < c.steps:
                began = time.perf_counter()
                losses, norm = self.one_step(forward)
                due = self.due(c.log_every)
                if due:
                    self.check()
                seconds.append(time.perf_counter() - began)
                if due or not c.cuda_graph:
                    bar.set_postfix(loss=f"{losses.total.item():.3f}", refresh=False)
                bar.update()
                if due:
                    self.write_line(losses, norm, sum(seconds) / len(seconds))
                    seconds.clear()
                figures = self.evaluate_and_save(evaluate)
                if not (quiet or figures or asked) and write and time.monotonic() - shown > PAUSE:
                    figures = {"text": self.averaged(write)}
                if figures and not quiet:
                    tqdm.write(report(self.step, figures))
                    shown = time.monotonic()
                if asked:
                    break
        if asked and self.step < c.steps:
            if self.saved != self.step:
                self.save()
            raise KeyboardInterrupt

    def begin(self) -> Callable[..., Losses]:
        """Prepare the model and the folder for training; returns what gives losses."""
        if self.config.compile:
            compile_blocks(self.model)
        if self.context.rank == 0:
            checkpoint.prune(self.run, self.best)  # a killed run may have stopped in the middle
            self.log = MetricsLog(self.run, self.step)
        self.model.train()
        return self.context.wrap(self.model)

    def due(self, every: int) -> bool:
        """Whether what is done once in so many steps is done after this one, as after the last."""
        return self.step % every == 0 or self.step == self.config.steps

    def evaluate_and_save(
        self, evaluate: Callable[[LanguageModel, int], dict] | None
    ) -> dict | None:
        """Evaluate and save where it is due; what was evaluated may be the best, so it is kept."""
        figures = None
        due = self.due(self.config.save_every)
        if evaluate is not None and self.due(self.config.eval_every):
            due = True
            if self.log:
                figures = self.evaluate(evaluate)
                self.log.write(step=self.step, kind="evaluation", **figures)
        if due:
            self.save()
        return figures

    def averaged(self, find: Callable[[LanguageModel], Any]) -> Any:
        """What `find(model)` gives with the averaged weights, put in place for that time."""
        # its shapes are others, and too few to be worth compiling
        with self.ema.applied(self.model), torch.compiler.set_stance("force_eager"):
            return find(self.model)

    def evaluate(self, evaluate: Callable[[LanguageModel, int], dict]) -> dict:
        """Figures of the averaged weights; a score below those before makes this step the best."""
        result = self.averaged(lambda model: evaluate(model, self.step))
        if result.get("score", math.inf) < self.best_score:
            self.best_score = result["score"]
            self.best = f"step_{self.step:07d}"
        return result

    def write_line(self, losses: Losses, norm: Tensor, seconds: float) -> None:
        """Add a line to the metrics log; `seconds` is the mean time of a step."""
        numbers = {**losses.terms, **losses.metrics}
        means = {name: round(self.context.mean(x).item(), 5) for name, x in numbers.items()}
        if self.log is None:
            return
        tokens = self.config.batch * self.batches.rows.shape[1]
        weights = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        cuda = self.context.device.type == "cuda"
        self.log.write(
            step=self.step,
            kind="step",
            **means,
            lr=learning_rate(self.step - 1, self.config),
            norm=round(norm.item(), 4),
            tokens_per_s=round(tokens / seconds),
            tflops=round(6 * weights * tokens / seconds / 1e12, 4),
            memory_mb=torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
        )
