"""Tiny trainings: in this process, as a child that is killed, or as two processes under torchrun."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial, wraps
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from minildm.errors import UserError
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.ldlm import LDLM, LDLMConfig
from minildm.models.manta import MantaLM
from minildm.models.manta_config import MantaLMConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.models.recipe import NAIVE, Recipe
from minildm.models.vae import VAE, VAEConfig
from minildm.nets.frozen import FrozenEncoder
from minildm.training import checkpoint
from minildm.training.config import TrainConfig
from minildm.training.distributed import DistributedContext, join, leave
from minildm.training.loop import Trainer
from minildm.transport.time_sampling import AdaptiveTime

VOCAB_SIZE, LENGTH = 20, 12
SIZES = dict(d_model=16, n_heads=2)
RECIPES = {
    "ldlm": Recipe(warmup=500),
    "running": Recipe(warmup=10, latent_norm="running"),
    "naive": NAIVE,
}


def rows(count: int = 40) -> np.ndarray:
    """Texts <bos> words <eos> <pad>... of every length, where each word follows from the one before."""
    random = np.random.default_rng(0)
    table = np.zeros((count, LENGTH), dtype=np.uint16)
    for row in table:
        words = random.integers(1, LENGTH - 1)
        start = random.integers(0, 16)
        row[: words + 2] = [1, *((start + 3 * np.arange(words)) % 16 + 4), 2]
    return table


def tiny_gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(VOCAB_SIZE, LENGTH, n_layers=2, **SIZES))


def tiny_ldlm(recipe: Recipe, **changes) -> LDLM:
    """An LDLM on the first block's states of a tiny GPT, with few bins of time so that its time distribution soon moves."""
    frozen = FrozenEncoder(tiny_gpt(), lambda network, tokens: network.states(tokens, -2), 16)
    frozen.calibrate(torch.from_numpy(rows().astype(np.int64)))
    layers = dict(n_encoder_layers=1, n_decoder_layers=1, n_token_layers=1, n_denoiser_layers=1)
    model = LDLM(
        LDLMConfig(
            **{
                **dict(vocab_size=VOCAB_SIZE, seq_len=LENGTH, hidden=16, latent=4, recipe=recipe),
                **SIZES,
                **layers,
                **changes,
            }
        ),
        frozen,
    )
    model.time = AdaptiveTime(bins=4, refresh=5)
    return model


def tiny_masked() -> MaskedDiffusion:
    torch.manual_seed(0)
    return MaskedDiffusion(MaskedDiffusionConfig(VOCAB_SIZE, LENGTH, n_layers=2, **SIZES))


def tiny_vae() -> VAE:
    torch.manual_seed(0)
    return VAE(VAEConfig(VOCAB_SIZE, LENGTH, latent=4, **SIZES))


def tiny_manta(**changes) -> MantaLM:
    space = tiny_vae()
    model = MantaLM(
        MantaLMConfig(VOCAB_SIZE, LENGTH, n_layers=1, **SIZES, space=space.config, **changes), space
    )
    if model.config.time_distribution == "adaptive":
        model.time = AdaptiveTime(bins=4, refresh=5)
    return model


MODELS = {
    "gpt": tiny_gpt,
    "masked": tiny_masked,
    "vae": tiny_vae,
    "manta": tiny_manta,
    "manta, denoised": partial(tiny_manta, head="denoised", time_distribution="uniform"),
    **{name: partial(tiny_ldlm, recipe) for name, recipe in RECIPES.items()},
}


def make_trainer(
    model_type: str, run: Path, context: DistributedContext = DistributedContext(), **changes
) -> Trainer:
    config = TrainConfig(
        **{**dict(steps=12, batch=8, warmup=4, log_every=1, eval_every=4, save_every=3), **changes}
    )
    card = {"config": {"train": asdict(config), "model_type": model_type}}
    return Trainer(MODELS[model_type](), rows(), config, run, card, context)


@torch.no_grad()
def score(model, step: int) -> dict:
    """The loss on the first rows, with the same noise each time."""
    tokens = torch.from_numpy(rows()[:8].astype(np.int64))
    return {
        "score": model.losses(tokens, step=step, rng=torch.Generator().manual_seed(0)).total.item()
    }


def alone(task: Callable) -> Callable:
    """A task for a process of its own: with one thread, as sums over several may round otherwise."""

    @wraps(task)
    def with_one_thread(*given):
        torch.set_num_threads(1)
        task(*given)

    return with_one_thread


@alone
def victim(model_type: str, run: Path, said: Connection) -> None:
    """Train, say each step before it is made, and wait to be killed, or until nobody is left who would."""
    trainer = make_trainer(model_type, run)
    one_step = trainer.one_step

    def announced(forward):
        said.send(trainer.step)
        return one_step(forward)

    trainer.one_step = announced
    trainer.fit(score, quiet=True)
    multiprocessing.parent_process().join()


@alone
def dies_saving(model_type: str, run: Path) -> None:
    """Train until the third checkpoint, and die when half of its second file is written."""
    save_file = checkpoint.save_file

    def half(tensors, path):
        save_file(tensors, path)
        if path.parent.name == "step_0000006.tmp" and path.name == "ema.safetensors":
            path.write_bytes(path.read_bytes()[:100])
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_file = half
    make_trainer(model_type, run).fit(score, quiet=True)


@alone
def dies_pruning(model_type: str, run: Path) -> None:
    """Train to the last checkpoint, and die when of the oldest one, which is to be deleted, one file is gone."""
    prune = checkpoint.prune

    def half(run, best):
        if (run / "step_0000012").exists():
            next(checkpoint.steps_saved(run)[0].iterdir()).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        prune(run, best)

    checkpoint.prune = half
    make_trainer(model_type, run).fit(score, quiet=True)


@alone
def compiled(model_type: str, run: Path) -> None:
    """Three steps traced by the compiler's front; its back would need a C++ toolchain."""
    torch.compile = partial(torch.compile, backend="eager")
    make_trainer(model_type, run, steps=3, compile=True).fit(quiet=True)


@alone
def in_processes(run: Path) -> None:
    """Train each model type for 50 steps on as many processes as torchrun started; note how an uneven batch is refused."""
    context = join()
    for model_type in MODELS:
        make_trainer(
            model_type, run / model_type, context, steps=50, save_every=50, accumulate=2
        ).fit(quiet=True)
    try:
        make_trainer("gpt", run / "uneven", context, batch=7)
    except UserError as error:
        (run / f"refused_{context.rank}").write_text(str(error))
    leave()


if __name__ == "__main__":
    task, *model_type, run = sys.argv[1:]
    {"compiled": compiled, "in_processes": in_processes}[task](*model_type, Path(run))
