"""The training loop: one for every model, from two cores to a node of GPUs."""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from tqdm import tqdm

from ..errors import UserError
from ..models.base import LanguageModel, Losses
from ..text.batches import Batches
from . import checkpoint
from .distributed import Ranks
from .journal import Journal
from .optimizers import make_optimizer

RULES = {
    "at least 1": (("steps", "batch", "accumulate", "log_every", "eval_every", "save_every"), lambda x: x >= 1),
    "at least 0": (("final_lr", "warmup", "weight_decay"), lambda x: x >= 0),
    "above 0": (("lr", "clip"), lambda x: x > 0),
    "from 0 to below 1": (("beta2", "ema"), lambda x: 0 <= x < 1),
    "from 0 to 2147483647": (("seed",), lambda x: 0 <= x < 2**31),
}
CONTENTS = ("corpus", "tokenizer", "frozen")  # what a card says of the files that a run reads


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained."""

    steps: int = 1000  # optimizer steps
    batch: int = 64  # texts a step, over all processes
    accumulate: int = 1  # parts a process cuts its share of the batch into
    optimizer: Literal["muon", "adamw"] = "muon"  # of the matrices inside blocks; the rest is AdamW's
    lr: float = 1e-3  # peak learning rate
    final_lr: float = 0.1  # learning rate at the end, as a share of the peak
    warmup: int = 100  # steps of linear warm-up
    weight_decay: float = 0.01  # on matrices only
    beta2: float = 0.99  # AdamW's second decay
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999  # decay of the averaged weights
    bf16: bool = False  # autocast to bfloat16, and iterate Muon in it
    compile: bool = False  # torch.compile the blocks
    checkpointing: bool = False  # recompute Transformer blocks in the backward pass, to save memory
    seed: int = 0  # of weights, order and noise
    log_every: int = 20  # steps between lines of the journal
    eval_every: int = 500  # steps between evaluations
    save_every: int = 500  # steps between checkpoints

    def __post_init__(self):
        for rule, (names, holds) in RULES.items():
            for name in names:
                if not holds(getattr(self, name)):
                    raise UserError(f"--{name.replace('_', '-')} must be {rule}, not {getattr(self, name)}")


def learning_rate(step: int, c: TrainConfig) -> float:
    """Linear warm-up, then a cosine from the peak to its final share.

    lr (f + (1 - f) (1 + cos(pi x)) / 2),  x = (step - warmup) / (steps - warmup)
    Args: `step`, from 0; `c`. Returns the learning rate of that step. Derived in chapter 16. Source: nanoGPT's habit.
    """
    if step < c.warmup:
        return c.lr * (step + 1) / c.warmup
    x = (step - c.warmup) / max(c.steps - c.warmup, 1)
    return c.lr * (c.final_lr + (1 - c.final_lr) * 0.5 * (1 + math.cos(math.pi * min(x, 1.0))))


def noise(seed: int, step: int, part: int, device) -> torch.Generator:
    """The generator of one part of one step, a pure function of its arguments: a resumed run draws the same noise."""
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
            torch._foreach_lerp_(means, values, 1 - decay) if dtype.is_floating_point else torch._foreach_copy_(means, values)


def mean_losses(parts: list[Losses]) -> Losses:
    """The losses of a batch from those of its parts of equal size, without their graphs."""
    terms, metrics = ({name: torch.stack([some[name].detach() for some in each]).mean(0) for name in each[0]}
                      for each in ([part.terms for part in parts], [part.metrics for part in parts]))
    return Losses(terms, metrics)


def refuse_nan(losses: Losses, norm: torch.Tensor, tokens: torch.Tensor, step: int, run: Path) -> None:
    """Stop at a number that is not finite, naming the first and saving the batch; a GPU is waited for once."""
    numbers = {**{f"loss term {name}": value for name, value in losses.terms.items()}, "norm of the gradient": norm}
    finite = torch.stack([value.detach().float() for value in numbers.values()]).isfinite().tolist()
    for (name, value), good in zip(numbers.items(), finite):
        if not good:
            path = run / "bad_batch.safetensors"
            save_file({"tokens": tokens.cpu()}, path)
            raise UserError(f"the {name} is {value.item()} at step {step}: the batch is in {path}; "
                            "lower --train.lr or take another --train.seed, and another --out")


def compile_blocks(model: torch.nn.Module) -> None:
    """Compile the blocks that networks repeat: one of a kind serves all, in seconds where a whole model takes minutes."""
    for stack in model.modules():
        for block in getattr(stack, "blocks", ()):
            block.compile()


class Trainer:
    """One run: a folder with checkpoints and a journal, and everything needed to go on exactly where it stopped."""

    def __init__(self, model: LanguageModel, rows, config: TrainConfig, run: Path, card: dict, ranks: Ranks = Ranks()):
        self.config, self.run, self.card, self.ranks = config, Path(run), card, ranks
        self.parts = ranks.world * config.accumulate  # of a batch, each with noise of its own
        if config.batch % self.parts:
            raise UserError(f"a batch of {config.batch} texts cannot be cut evenly for {ranks.world} processes x "
                            f"{config.accumulate} parts: choose a multiple of {self.parts}")
        self.model = model.to(ranks.device)
        for part in model.modules():
            if hasattr(part, "checkpointing"):
                part.checkpointing = config.checkpointing
        self.batches = Batches(rows, config.batch, config.seed)
        self.optimizer = make_optimizer(model, config)
        self.average = Average(model, config.ema)
        self.step, self.best, self.best_score = 0, None, math.inf
        self.run.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Go back to the last checkpoint of this run, if there is one."""
        saved = checkpoint.steps_saved(self.run)
        if not saved:
            return False
        folder, device = saved[-1], str(self.ranks.device)
        card = checkpoint.read_card(folder)
        changed = [k for k in self.card["config"] if card["config"].get(k) != self.card["config"][k]]
        changed += [f"contents of {k}" for k in CONTENTS if card.get(k) != self.card.get(k)]
        changed += ["processes x accumulate"] * (card.get("parts", self.parts) != self.parts)
        if changed:
            raise UserError(f"{folder} was trained with another configuration ({', '.join(changed)}): "
                            "repeat its flags and files or choose another --out")
        checkpoint.fit(self.model, checkpoint.read_tensors(folder / "model.safetensors", device), str(folder))
        self.average.weights = checkpoint.read_tensors(folder / "average.safetensors", device)
        self.optimizer.load(checkpoint.read_tensors(folder / "optimizer.safetensors", device))
        self.step, self.best = card["step"], card["best"]
        self.best_score = math.inf if self.best is None else card["best_score"]
        return True

    def save(self) -> None:
        """Write the checkpoint of this step, then forget older ones."""
        if self.ranks.rank == 0:
            folder = self.run / f"step_{self.step:07d}"
            score = self.best_score if math.isfinite(self.best_score) else None
            card = {**self.card, "parts": self.parts, "step": self.step, "best": self.best, "best_score": score}
            checkpoint.write_folder(folder, {
                "model": checkpoint.trained_state(self.model), "average": self.average.weights,
                "optimizer": self.optimizer.tensors()}, card)
            checkpoint.prune(self.run, self.best)
        self.ranks.barrier()

    def one_step(self, forward: Callable[..., Losses]) -> tuple[Losses, float]:
        """Gradients of all parts, clip, update, average; returns the mean losses of its parts and the gradient's norm."""
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
                losses = forward(tokens, step=self.step, rng=noise(c.seed, self.step, part, ranks.device))
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

    def fit(self, evaluate: Callable[[LanguageModel, int], dict] | None = None, quiet: bool = False) -> None:
        """Train to the end; of the figures of `evaluate(model, step)`, "score" (lower is better) picks the best."""
        lock = FileLock(self.run / "lock")
        try:
            if self.ranks.rank == 0:
                lock.acquire(timeout=0)
            self.train(evaluate, quiet)
        except Timeout as error:
            raise UserError(f"another process trains in {self.run}: wait for it, or choose another --out") from error
        finally:
            lock.release()

    def train(self, evaluate: Callable[[LanguageModel, int], dict] | None, quiet: bool) -> None:
        """The steps of `fit`, for whoever holds the run's folder."""
        c, ranks = self.config, self.ranks
        if c.compile:
            compile_blocks(self.model)
        forward, journal = ranks.wrap(self.model), None
        if ranks.rank == 0:
            checkpoint.prune(self.run, self.best)  # a killed run may have stopped in the middle of it
            journal = Journal(self.run / "journal.jsonl", self.step)
        bar = tqdm(total=c.steps, initial=self.step, disable=quiet or ranks.rank > 0, desc=self.run.name, mininterval=2)
        self.model.train()
        while self.step < c.steps:
            began = time.perf_counter()
            losses, norm = self.one_step(forward)
            bar.update()
            last = self.step == c.steps
            if self.step % c.log_every == 0 or last:
                line = self.figures(losses, norm, time.perf_counter() - began)
                bar.set_postfix(loss=f"{losses.total.item():.3f}")
                if journal:
                    journal.write(**line)
            due = evaluate and (self.step % c.eval_every == 0 or last)
            if due and journal:
                journal.write(step=self.step, kind="evaluation", **self.evaluate(evaluate))
            if due or self.step % c.save_every == 0 or last:  # what was evaluated may be the best, so it is kept
                self.save()
        bar.close()

    def evaluate(self, evaluate: Callable[[LanguageModel, int], dict]) -> dict:
        """Figures of the averaged weights, which are put in place for the time of the evaluation."""
        own = {k: v.clone() for k, v in checkpoint.trained_state(self.model).items()}
        self.model.load_state_dict(self.average.weights, strict=False)
        self.model.eval()
        with torch.compiler.set_stance("force_eager"):  # its shapes are others, and too few to be worth compiling
            result = evaluate(self.model, self.step)
        self.model.load_state_dict(own, strict=False)
        self.model.train()
        if result.get("score", math.inf) < self.best_score:
            self.best_score, self.best = result["score"], f"step_{self.step:07d}"
        return result

    def figures(self, losses: Losses, norm: float, seconds: float) -> dict:
        """One line of the journal."""
        tokens = self.config.batch * self.batches.rows.shape[1]
        memory = torch.cuda.max_memory_allocated() / 2**20 if self.ranks.device.type == "cuda" else None
        named = {k: round(self.ranks.mean(v).item(), 5) for k, v in {**losses.terms, **losses.metrics}.items()}
        flops = 6 * sum(p.numel() for p in self.model.parameters() if p.requires_grad) * tokens / seconds
        return {"step": self.step, "kind": "step", **named, "lr": learning_rate(self.step - 1, self.config),
                "norm": round(norm, 4), "tokens_per_s": round(tokens / seconds), "tflops": round(flops / 1e12, 4),
                "memory_mb": memory}
