"""Train ldlm-tales on a GPU with losses and gradients replayed as one CUDA graph.

    python benchmarks/replay.py --out runs/ldlm-tales

`minildm train ldlm --preset ldlm-tales` computes the same, but a small model's thousands of small kernels then wait for
Python: on one H200 a step took 63 ms, and replayed 14 ms. Other flags of `minildm train ldlm` may follow. The zoo's weights
were made by this loop before it was tidied; in this form it has not been run on a GPU yet.
"""

import shlex
import sys
import time

import torch

import minildm.cli.train as command
from minildm.models import ldlm
from minildm.training.distributed import join
from minildm.training.loop import Trainer, learning_rate, refuse_nan

share = ldlm.gamma


class Replayed:
    """Losses and gradients of a batch as one CUDA graph, whose inputs are tensors that are filled before each replay."""

    def __init__(self, trainer: Trainer, tokens: torch.Tensor):
        self.model, self.bf16, device = trainer.model, trainer.config.bf16, trainer.ranks.device
        self.tokens, self.rng, self.gamma = tokens.to(device), torch.Generator(device), torch.zeros((), device=device)
        ldlm.gamma = lambda step, warmup: self.gamma
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # compiles the blocks and settles memory
                self.run()
        torch.cuda.current_stream().wait_stream(side)
        self.model.zero_grad(set_to_none=True)  # gradients that the graph makes lie in its own memory
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(self.rng)
        with torch.cuda.graph(self.graph):
            self.losses = self.run()
        self.model.time.new_loss.zero_()
        self.model.time.new_count.zero_()

    def run(self):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.bf16):
            losses = self.model(self.tokens, step=0, rng=self.rng)
        losses.total.backward()
        return losses

    def __call__(self, tokens: torch.Tensor, step: int, seed: int):
        self.gamma.fill_(share(step, self.model.config.recipe.warmup))
        self.tokens.copy_(tokens, non_blocking=True)
        self.rng.manual_seed(seed)
        self.graph.replay()
        return self.losses


class Replaying(Trainer):
    """The training loop with replayed steps, which looks for numbers that are not finite only when it writes a line."""

    replayed = None

    def one_step(self, forward):
        c = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, c)
        batch = self.batches.at(self.step)
        if self.replayed is None:
            self.replayed, self.line = Replayed(self, batch), (self.step, time.perf_counter())
        losses = self.replayed(batch, self.step, (c.seed * 1_000_003 + self.step) * 4096)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        if (self.step + 1) % c.log_every == 0:
            refuse_nan({**losses.terms, "norm of the gradient": norm}, batch, self.step, self.run)
        self.optimizer.step()
        self.model.after_step(self.step)
        self.average.update(self.model, self.step)
        self.step += 1
        return losses, norm.item() if self.step % c.log_every == 0 else 0.0

    def figures(self, losses, norm, seconds):
        """A line of the journal, with the mean time of a step since the last: replays run behind Python."""
        now, (step, began) = time.perf_counter(), self.line
        self.line = self.step, now
        return super().figures(losses, norm, (now - began) / (self.step - step))


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("a CUDA graph needs a GPU: train with `minildm train ldlm --preset ldlm-tales` instead")
    command.Trainer = Replaying
    kind, flags = command.parse(["ldlm", "--preset", "ldlm-tales", *sys.argv[1:]])
    command.train(kind, flags, shlex.join(["python", "benchmarks/replay.py", *sys.argv[1:]]), join())


if __name__ == "__main__":
    main()
