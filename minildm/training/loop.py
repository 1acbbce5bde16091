"""The training loop: one for every model, from two cores to a node of GPUs."""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from tqdm import tqdm

from ..errors import UserError, reason, write_atomically
from ..models.base import LanguageModel, Losses
from ..text.batches import Batches
from . import checkpoint
from .config import TrainConfig, learning_rate
from .display import report
from .distributed import Ranks
from .journal import Journal
from .optimizers import make_optimizer
from .stopping import patient

CONTENTS = ("corpus", "tokenizer", "frozen")  # what a card says of the files that a run reads
PAUSE = 60.0  # seconds after which a text is shown without an evaluation


def noise(seed: int, step: int, part: int, device) -> torch.Generator:
    """The generator of one part of one step, a pure function of its arguments: a resumed run draws
    the same noise.
    """
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) * 4096 + part)


class Average:
    """Exponential moving average of a model's trained weights, with a warm start."""

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in checkpoint.trained_state(model).items()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        state, alike = checkpoint.trained_state(model), defaultdict(list)
        for name, value in state.items():
            alike[value.dtype].append(name)
        for dtype, names in alike.items():  # a call for all weights of a type
            means, values = [self.weights[name] for name in names], [state[name] for name in names]
            torch._foreach_lerp_(
                means, values, 1 - decay
            ) if dtype.is_floating_point else torch._foreach_copy_(means, values)


def mean_losses(parts: list[Losses]) -> Losses:
    """The losses of a batch from those of its parts of equal size, without their graphs."""
    terms, metrics = (
        {name: torch.stack([some[name].detach() for some in each]).mean(0) for name in each[0]}
        for each in ([part.terms for part in parts], [part.metrics for part in parts])
    )
    return Losses(terms, metrics)


def refuse_nan(
    losses: Losses, norm: torch.Tensor, tokens: torch.Tensor, step: int, run: Path
) -> None:
    """Stop at a number that is not finite, naming the first and saving the batch; a GPU is waited
    for once.
    """
    numbers = {
        **{f"loss term {name}": value for name, value in losses.terms.items()},
        "norm of the gradient": norm,
    }
    finite = torch.stack([value.detach().float() for value in numbers.values()]).isfinite().tolist()
    for (name, value), good in zip(numbers.items(), finite):
        if not good:
            path = run / "bad_batch.safetensors"
            write_atomically(path, lambda beside: save_file({"tokens": tokens.cpu()}, beside))
            raise UserError(
                f"the {name} is {value.item()} at step {step}: the batch is in {path}; "
                "lower --train.lr or take another --train.seed, and another --out"
            )


def compile_blocks(model: torch.nn.Module) -> None:
    """Compile the blocks that networks repeat: one of a kind serves all, in seconds where a whole
    model takes minutes.
    """
    for stack in model.modules():
        for block in getattr(stack, "blocks", ()):
            block.compile()


class Trainer:
    """One run: a folder with checkpoints and a journal, and everything needed to go on exactly
    where it stopped.
    """

    def __init__(
        self,
        model: LanguageModel,
        rows,
        config: TrainConfig,
        run: Path,
        card: dict,
        ranks: Ranks = Ranks(),
    ):
        self.config, self.run, self.card, self.ranks = config, Path(run), card, ranks
        self.parts = ranks.world * config.accumulate  # of a batch, each with noise of its own
        if config.batch % self.parts:
            raise UserError(
                f"a batch of {config.batch} texts cannot be cut evenly for {ranks.world} processes x "
                f"{config.accumulate} parts: choose a multiple of {self.parts}"
            )
        self.model = model.to(ranks.device)
        for part in model.modules():
            if hasattr(part, "checkpointing"):
                part.checkpointing = config.checkpointing
        self.batches = Batches(rows, config.batch, config.seed)
        self.optimizer = make_optimizer(model, config)
        self.average = Average(model, config.ema)
        self.step, self.best, self.best_score = 0, None, math.inf
        self.saved: int | None = None  # step of the last checkpoint
        self.planned = config.steps  # steps of the whole training, when that checkpoint was written
        try:
            self.run.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise UserError(
                f"{run} cannot be written ({reason(fault)}): choose another --out"
            ) from None

    def resume(self) -> bool:
        """Go back to the last checkpoint of this run, if there is one; the number of steps may have
        become another.
        """
        saved = checkpoint.steps_saved(self.run)
        if not saved:
            return False
        folder, device = saved[-1], str(self.ranks.device)
        card = checkpoint.progress(folder)
        before = card["config"]
        if isinstance(before.get("train"), dict) and card["step"] <= self.config.steps:
            self.planned = checkpoint.planned(folder, before["train"])
            before = {**before, "train": {**before["train"], "steps": self.config.steps}}
        changed = checkpoint.differences(before, self.card["config"])
        changed += [
            f"the contents of {k} are others" for k in CONTENTS if card.get(k) != self.card.get(k)
        ]
        if card.get("parts", self.parts) != self.parts:
            changed += [f"processes x accumulate was {card['parts']} and is {self.parts}"]
        if changed:
            raise UserError(
                f"{folder} was trained with another configuration ({'; '.join(changed)}): "
                "repeat its flags and files or choose another --out"
            )
        files = {name: folder / f"{name}.safetensors" for name in ("model", "average", "optimizer")}
        weights, average, moments = (
            checkpoint.read_tensors(path, device) for path in files.values()
        )
        checkpoint.check(self.model, average, str(files["average"]))
        checkpoint.fit(self.model, weights, str(folder))
        self.average.weights = average
        self.optimizer.load(moments, str(files["optimizer"]))
        self.step, self.saved, self.best = card["step"], card["step"], card["best"]
        self.best_score = math.inf if self.best is None else card["best_score"]
        return True

    def save(self) -> None:
        """Write the checkpoint of this step, then forget older ones."""
        if self.ranks.rank == 0:
            folder = self.run / f"step_{self.step:07d}"
            score = self.best_score if math.isfinite(self.best_score) else None
            card = {
                **self.card,
                "parts": self.parts,
                "step": self.step,
                "best": self.best,
                "best_score": score,
            }
            checkpoint.write_folder(
                folder,
                {
                    "model": checkpoint.trained_state(self.model),
                    "average": self.average.weights,
                    "optimizer": self.optimizer.tensors(),
                },
                card,
            )
            checkpoint.prune(self.run, self.best)
        self.saved = self.step
        self.ranks.barrier()

    def one_step(self, forward: Callable[..., Losses]) -> tuple[Losses, float]:
        """Gradients of all parts, clip, update, average; returns the mean losses of its parts and
        the gradient's norm.
        """
        c, ranks = self.config, self.ranks
        rate = learning_rate(self.step, c)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch, seen = self.batches.at(self.step), []
        parts = batch.chunk(self.parts)
        for i in range(c.accumulate):
            part = i * ranks.world + ranks.rank
            tokens = parts[part].to(ranks.device, non_blocking=True)
            with torch.autocast(ranks.device.type, dtype=torch.bfloat16, enabled=c.bf16):
                losses = forward(
                    tokens, step=self.step, rng=noise(c.seed, self.step, part, ranks.device)
                )
            (losses.total / c.accumulate).backward()
            seen.append(losses)
        losses = mean_losses(seen)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        refuse_nan(losses, norm, batch, self.step, self.run)  # before it reaches the weights
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.after_step(self.step)
        self.average.update(self.model, self.step)
        self.step += 1
        return losses, float(norm)

    def fit(
        self,
        evaluate: Callable[[LanguageModel, int], dict] | None = None,
        quiet: bool = False,
        write: Callable[[LanguageModel], str] | None = None,
    ) -> None:
        """Train to the end; of the figures of `evaluate(model, step)`, "score" (lower is better)
        picks the best.

        The text of an evaluation is shown, and where evaluations are rare that of `write(model)`
        once a minute.

        Raises:
            KeyboardInterrupt: After Ctrl-C, when the step that was under way is made and saved.
        """
        lock, alone = FileLock(self.run / "lock"), self.ranks.world == 1
        try:
            if self.ranks.rank == 0:
                lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"another process trains in {self.run}: wait for it, or choose another --out"
            ) from error
        except OSError as fault:
            raise UserError(
                f"{self.run} cannot be written ({reason(fault)}): choose another --out"
            ) from None
        try:
            with patient(alone) as asked:
                self.train(evaluate, quiet or self.ranks.rank > 0, write, asked)
        finally:
            lock.release()

    def train(
        self,
        evaluate: Callable[[LanguageModel, int], dict] | None,
        quiet: bool,
        write: Callable[[LanguageModel], str] | None,
        asked: list[bool],
    ) -> None:
        """The steps of `fit`, for whoever holds the run's folder."""
        c, ranks = self.config, self.ranks
        if c.compile:
            compile_blocks(self.model)
        forward, journal = ranks.wrap(self.model), None
        if ranks.rank == 0:
            checkpoint.prune(
                self.run, self.best
            )  # a killed run may have stopped in the middle of it
            journal = Journal(self.run / "journal.jsonl", self.step)
        self.model.train()
        named = {"desc": self.run.name, "disable": quiet, "mininterval": 1, "dynamic_ncols": True}
        with tqdm(total=c.steps, initial=self.step, **named) as bar:
            shown = time.monotonic()
            while self.step < c.steps:
                began = time.perf_counter()
                losses, norm = self.one_step(forward)
                bar.set_postfix(loss=f"{losses.total.item():.3f}", refresh=False)
                bar.update()
                last, figures = self.step == c.steps, None
                if self.step % c.log_every == 0 or last:
                    line = self.figures(losses, norm, time.perf_counter() - began)
                    if journal:
                        journal.write(**line)
                due = evaluate and (self.step % c.eval_every == 0 or last)
                if due and journal:
                    figures = self.evaluate(evaluate)
                    journal.write(step=self.step, kind="evaluation", **figures)
                if (
                    due or self.step % c.save_every == 0 or last
                ):  # what was evaluated may be the best, so it is kept
                    self.save()
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

    def averaged(self, look: Callable):
        """What `look(model)` finds with the averaged weights, which are put in place for that time."""
        own = {k: v.clone() for k, v in checkpoint.trained_state(self.model).items()}
        self.model.load_state_dict(self.average.weights, strict=False)
        self.model.eval()
        try:
            with torch.compiler.set_stance(
                "force_eager"
            ):  # its shapes are others, and too few to be worth compiling
                return look(self.model)
        finally:
            self.model.load_state_dict(own, strict=False)
            self.model.train()

    def evaluate(self, evaluate: Callable[[LanguageModel, int], dict]) -> dict:
        """Figures of the averaged weights; a score below those before makes this step the best."""
        result = self.averaged(lambda model: evaluate(model, self.step))
        if result.get("score", math.inf) < self.best_score:
            self.best_score, self.best = result["score"], f"step_{self.step:07d}"
        return result

    def figures(self, losses: Losses, norm: float, seconds: float) -> dict:
        """One line of the journal."""
        tokens = self.config.batch * self.batches.rows.shape[1]
        memory = (
            torch.cuda.max_memory_allocated() / 2**20 if self.ranks.device.type == "cuda" else None
        )
        named = {
            k: round(self.ranks.mean(v).item(), 5)
            for k, v in {**losses.terms, **losses.metrics}.items()
        }
        flops = (
            6
            * sum(p.numel() for p in self.model.parameters() if p.requires_grad)
            * tokens
            / seconds
        )
        return {
            "step": self.step,
            "kind": "step",
            **named,
            "lr": learning_rate(self.step - 1, self.config),
            "norm": round(norm, 4),
            "tokens_per_s": round(tokens / seconds),
            "tflops": round(flops / 1e12, 4),
            "memory_mb": memory,
        }
