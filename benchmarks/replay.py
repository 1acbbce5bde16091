"""Train a model on a GPU with losses and gradients replayed as one CUDA graph.

    python benchmarks/replay.py ldlm --preset ldlm-tales --out runs/ldlm-tales

Flags are those of `minildm train`, which computes the same, but a small model's thousands of small kernels then wait for
Python: on one H200 a step of this LDLM took 63 ms, and replayed 14 ms.
"""

import shlex
import sys
import time

import torch
import torch.distributed as dist

import minildm.cli.train as command
from minildm.models import ldlm
from minildm.training.distributed import join
from minildm.training.loop import Trainer, learning_rate, refuse_nan
from minildm.transport.time_sampling import AdaptiveTime

share = ldlm.gamma


class Replayed:
    """Losses and gradients of a batch as one CUDA graph, whose inputs are tensors that are filled before each replay."""

    def __init__(self, trainer: Trainer, tokens: torch.Tensor, step: int):
        self.model, self.bf16, device = trainer.model, trainer.config.bf16, trainer.ranks.device
        self.tokens, self.rng, self.gamma = (
            tokens.to(device),
            torch.Generator(device),
            torch.zeros((), device=device),
        )
        ldlm.gamma = lambda step, warmup: self.gamma
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # compiles the blocks and settles memory
                self.run(step)
        torch.cuda.current_stream().wait_stream(side)
        self.model.zero_grad(
            set_to_none=True
        )  # gradients that the graph makes lie in its own memory
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(self.rng)
        with torch.cuda.graph(self.graph):
            self.losses = self.run(step)
        for law in self.model.modules():
            if isinstance(law, AdaptiveTime):
                law.new_loss.zero_()
                law.new_count.zero_()

    def run(self, step: int):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.bf16):
            losses = self.model(self.tokens, step=step, rng=self.rng)
        losses.total.backward()
        return losses

    def __call__(self, tokens: torch.Tensor, step: int, seed: int):
        if isinstance(self.model, ldlm.LDLM):
            self.gamma.fill_(share(step, self.model.config.recipe.warmup))
        self.tokens.copy_(tokens.pin_memory(), non_blocking=True)
        self.rng.manual_seed(seed)
        self.graph.replay()
        return self.losses


class Replaying(Trainer):
    """The training loop with replayed steps, which looks for numbers that are not finite only when it writes something."""

    replayed, first = None, None

    def one_step(self, forward):
        c = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, c)
        batch, first = (
            self.batches.at(self.step),
            self.step < getattr(self.model.config, "told_first", 0),
        )
        if (
            self.replayed is None or first != self.first
        ):  # a Manta-LM's first steps have another loss
            self.replayed, self.first, self.line = (
                Replayed(self, batch, self.step),
                first,
                (self.step, time.perf_counter()),
            )
        losses = self.replayed(batch, self.step, (c.seed * 1_000_003 + self.step) * 4096)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        if self.due(self.step + 1):
            refuse_nan(losses, norm, batch, self.step, self.run)
        self.optimizer.step()
        self.model.after_step(self.step)
        self.average.update(self.model, self.step)
        self.step += 1
        return losses, norm.item() if self.due(self.step) else 0.0

    def due(self, step: int) -> bool:
        """Whether a line or a checkpoint is written at a step."""
        c = self.config
        return step == c.steps or any(
            step % every == 0 for every in (c.log_every, c.save_every, c.eval_every)
        )

    def figures(self, losses, norm, seconds):
        """A line of the journal, with the mean time of a step since the last: replays run behind Python."""
        now, (step, began) = time.perf_counter(), self.line
        self.line = self.step, now
        return super().figures(losses, norm, (now - began) / max(self.step - step, 1))


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("a CUDA graph needs a GPU: train with `minildm train` instead")
    command.Trainer = Replaying
    kind, flags = command.parse(sys.argv[1:])
    if flags.train.accumulate > 1 or dist.is_torchelastic_launched():
        sys.exit(
            "a graph holds one part of a batch on one GPU: leave out --train.accumulate and torchrun"
        )
    command.train(
        kind, flags, shlex.join(["python", "benchmarks/replay.py", *sys.argv[1:]]), join()
    )


if __name__ == "__main__":
    main()
