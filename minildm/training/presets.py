"""Presets: the runs that made the zoo, and one dial of sizes from a laptop's minute to the
published model.
"""

from dataclasses import dataclass, field, replace

from ..errors import UserError
from ..models.gpt import GPTConfig
from ..models.ldlm import LDLMConfig
from ..models.manta_config import MantaConfig
from ..models.masked import MaskedConfig
from ..models.recipe import Recipe
from ..models.vae import VAEConfig
from .loop import TrainConfig

KINDS = ("gpt", "masked", "ldlm", "vae", "manta")


@dataclass(frozen=True)
class CorpusConfig:
    """What a model reads."""

    name: str = "tales"  # tales, tales:EVENTS, pydocs, kjv, file:PATH or hub:NAME
    vocabulary: int = (
        512  # entries of a tokenizer trained on the corpus; Tales have their own words
    )
    pack: bool = False  # join documents and cut full rows, else a document is a row where all fit
    documents: int = 100_000  # how many of a corpus that has no end


@dataclass(frozen=True)
class Run:
    """Everything that a training run is made from."""

    kind: str  # one of KINDS
    model: GPTConfig | MaskedConfig | LDLMConfig | VAEConfig | MantaConfig
    train: TrainConfig
    corpus: CorpusConfig = field(default_factory=CorpusConfig)


OPEN_TEXT = CorpusConfig("hub:Skylion007/openwebtext", 32_768, True, 1_000_000)
STORIES = CorpusConfig("hub:roneneldan/TinyStories", 8_192, True, 500_000)
WINDOWS = MantaConfig(layers=4, windows=True, lag=16.0, told=0.35, told_first=700, known=0.2)
MANY_TALES = CorpusConfig(documents=200_000)
MILLION_TALES = CorpusConfig(documents=1_000_000)

SIZES = {
    "gpt": {
        "nano": Run(
            "gpt",
            GPTConfig(width=64, heads=2, layers=3),
            TrainConfig(steps=600, batch=32, lr=3e-3, warmup=50, ema=0.99, bf16=True),
        ),
        "micro": Run(
            "gpt",
            GPTConfig(),
            TrainConfig(
                steps=5000,
                batch=64,
                lr=4e-3,
                warmup=200,
                bf16=True,
                ema=0.998,
                final_lr=0.02,
                log_every=50,
            ),
            MANY_TALES,
        ),
        "small": Run(
            "gpt",
            GPTConfig(length=256, width=384, heads=6, layers=6),
            TrainConfig(steps=20_000, batch=128, lr=1e-3, warmup=500, bf16=True, compile=True),
            STORIES,
        ),
        "base": Run(
            "gpt",
            GPTConfig(length=1024, width=768, heads=12, layers=12),
            TrainConfig(
                steps=600_000,
                batch=480,
                accumulate=5,
                lr=6e-4,
                warmup=2000,
                weight_decay=0.1,
                bf16=True,
                compile=True,
                checkpointing=True,
                ema=0.9999,
                eval_every=2000,
                save_every=2000,
            ),
            OPEN_TEXT,
        ),
    },
    "masked": {
        "nano": Run(
            "masked",
            MaskedConfig(width=64, heads=2, layers=3),
            TrainConfig(steps=600, batch=32, lr=3e-3, warmup=50, ema=0.99, bf16=True),
        ),
        "micro": Run(
            "masked",
            MaskedConfig(),
            TrainConfig(
                steps=7500,
                batch=64,
                lr=4e-3,
                warmup=200,
                bf16=True,
                ema=0.998,
                final_lr=0.02,
                log_every=50,
            ),
            MANY_TALES,
        ),
        "small": Run(
            "masked",
            MaskedConfig(length=128, width=384, heads=6, layers=8),
            TrainConfig(steps=50_000, batch=128, lr=1e-3, warmup=500, bf16=True, compile=True),
            STORIES,
        ),
        "base": Run(
            "masked",
            MaskedConfig(length=128, width=768, heads=12, layers=12),
            TrainConfig(
                steps=1_000_000,
                batch=512,
                lr=3e-4,
                warmup=2500,
                bf16=True,
                compile=True,
                checkpointing=True,
                ema=0.9999,
                eval_every=5000,
                save_every=5000,
            ),
            OPEN_TEXT,
        ),
    },
    "ldlm": {
        "nano": Run(
            "ldlm",
            LDLMConfig(
                width=64,
                latent=16,
                heads=2,
                encoder_layers=1,
                decoder_layers=1,
                denoiser_layers=3,
                recipe=Recipe(warmup=200),
            ),
            TrainConfig(steps=400, batch=32, lr=2e-3, warmup=50, ema=0.99, bf16=True),
        ),
        "micro": Run(
            "ldlm",
            LDLMConfig(
                encoder_layers=1,
                recipe=Recipe(warmup=600, decoder_noise=0.5, encoder_pull=0.05, draws=4),
            ),
            TrainConfig(
                steps=7500, batch=16, lr=3e-3, warmup=200, bf16=True, final_lr=0.02, log_every=50
            ),
            MANY_TALES,
        ),
        "small": Run(
            "ldlm",
            LDLMConfig(
                length=128,
                frozen="hub:gpt2",
                latent=128,
                width=384,
                heads=6,
                encoder_layers=3,
                decoder_layers=3,
                token_layers=2,
                denoiser_layers=8,
                recipe=Recipe(warmup=5000),
            ),
            TrainConfig(steps=50_000, batch=128, lr=5e-4, warmup=1000, bf16=True, compile=True),
            STORIES,
        ),
        "base": Run(
            "ldlm",
            LDLMConfig(
                length=128,
                frozen="hub:gpt2",
                latent=768,
                width=768,
                heads=12,
                encoder_layers=6,
                decoder_layers=6,
                token_layers=3,
                denoiser_layers=12,
                recipe=Recipe(warmup=50_000),
            ),
            TrainConfig(
                steps=1_000_000,
                batch=512,
                lr=2e-4,
                warmup=1000,
                bf16=True,
                compile=True,
                checkpointing=True,
                ema=0.9999,
                eval_every=5000,
                save_every=5000,
            ),
            OPEN_TEXT,
        ),
    },
    "vae": {
        "nano": Run(
            "vae",
            VAEConfig(width=64, latent=16, heads=2),
            TrainConfig(steps=300, batch=32, lr=3e-3, warmup=50, ema=0.99, bf16=True),
        ),
        "micro": Run(
            "vae",
            VAEConfig(),
            TrainConfig(
                steps=2000,
                batch=64,
                lr=3e-3,
                warmup=100,
                bf16=True,
                ema=0.99,
                final_lr=0.02,
                log_every=50,
            ),
            MANY_TALES,
        ),
        "small": Run(
            "vae",
            VAEConfig(length=128, latent=64, width=384, heads=6, decoder_layers=2),
            TrainConfig(steps=20_000, batch=128, lr=1e-3, warmup=500, bf16=True, compile=True),
            STORIES,
        ),
        "base": Run(
            "vae",
            VAEConfig(length=128, latent=128, width=768, heads=12, decoder_layers=4),
            TrainConfig(
                steps=100_000,
                batch=512,
                lr=3e-4,
                warmup=1000,
                bf16=True,
                compile=True,
                checkpointing=True,
                ema=0.9999,
                eval_every=5000,
                save_every=5000,
            ),
            OPEN_TEXT,
        ),
    },
    "manta": {
        "nano": Run(
            "manta",
            MantaConfig(width=64, heads=2, layers=3),
            TrainConfig(steps=600, batch=32, lr=3e-3, warmup=50, ema=0.99, bf16=True),
        ),
        "micro": Run(
            "manta",
            MantaConfig(layers=4),
            TrainConfig(
                steps=7500,
                batch=64,
                lr=4e-3,
                warmup=200,
                bf16=True,
                ema=0.998,
                final_lr=0.02,
                log_every=50,
            ),
            MANY_TALES,
        ),
        "small": Run(
            "manta",
            MantaConfig(length=128, width=384, heads=6, layers=8),
            TrainConfig(steps=50_000, batch=128, lr=1e-3, warmup=500, bf16=True, compile=True),
            STORIES,
        ),
        "base": Run(
            "manta",
            MantaConfig(length=128, width=768, heads=12, layers=12),
            TrainConfig(
                steps=1_000_000,
                batch=512,
                lr=3e-4,
                warmup=2500,
                bf16=True,
                compile=True,
                checkpointing=True,
                ema=0.9999,
                eval_every=5000,
                save_every=5000,
            ),
            OPEN_TEXT,
        ),
    },
}

BRIEF = replace(
    SIZES["manta"]["micro"], model=WINDOWS, train=replace(SIZES["manta"]["micro"].train, steps=6000)
)
SECOND = replace(
    WINDOWS, told=0.9, told_first=0, ahead=6, writing_solver="paced"
)  # round, from the weights of the first
PULLED = Recipe(warmup=2000, decoder_noise=0.5, encoder_pull=0.05, draws=4)


def on_a_gpu(run: Run, **train) -> Run:
    """A run on a million tales in large batches, as a GPU likes them."""
    many = {
        "steps": 18_000,
        "batch": 256,
        "compile": True,
        "log_every": 200,
        "eval_every": 6000,
        "save_every": 1500,
    }
    return replace(run, train=replace(run.train, **many | train), corpus=MILLION_TALES)


PRESETS = {
    "gpt-tales": on_a_gpu(SIZES["gpt"]["micro"]),
    "masked-tales": on_a_gpu(SIZES["masked"]["micro"]),
    "ldlm-tales": on_a_gpu(
        replace(
            SIZES["ldlm"]["micro"],
            model=LDLMConfig(
                encoder_layers=1, denoiser_layers=12, writing_temperature=0.5, recipe=PULLED
            ),
        ),
        steps=36_000,
        batch=128,
        lr=2e-3,
        warmup=500,
        log_every=100,
        eval_every=3000,
        save_every=3000,
    ),
    "ldlm-matched": on_a_gpu(
        replace(
            SIZES["ldlm"]["micro"],  # about as many weights as the others have
            model=LDLMConfig(
                width=96,
                encoder_layers=1,
                decoder_layers=1,
                denoiser_layers=4,
                recipe=replace(PULLED, warmup=1500),
            ),
        )
    ),
    "manta-windows": on_a_gpu(BRIEF, steps=15_000),
    "manta-tales": on_a_gpu(replace(BRIEF, model=SECOND), steps=3000, lr=2e-3, warmup=50, seed=1),
    "vae-tales": SIZES["vae"]["micro"],
    "gpt-brief": SIZES["gpt"]["micro"],
    "masked-brief": SIZES["masked"]["micro"],
    "ldlm-brief": SIZES["ldlm"]["micro"],
    "manta-brief-windows": BRIEF,
    "manta-brief": replace(
        BRIEF, model=SECOND, train=replace(BRIEF.train, steps=1500, lr=2e-3, warmup=50, seed=1)
    ),
    "gpt-nano": SIZES["gpt"]["nano"],
    "masked-nano": SIZES["masked"]["nano"],
    "ldlm-nano": SIZES["ldlm"]["nano"],
    "vae-nano": SIZES["vae"]["nano"],
    "manta-nano": SIZES["manta"]["nano"],
}


def find_run(kind: str, preset: str | None = None, size: str | None = None) -> Run:
    """The run that a preset or a size names; without either, the smallest.

    Args:
        kind: One of KINDS.
        preset: A name of PRESETS.
        size: A name on the dial, nano, micro, small or base.

    Returns:
        A `Run`.

    Raises:
        UserError: On an unknown name, a preset of the other kind, or both names at once.

    Source: ours; base has the sizes of LDLM [OD].
    """
    if preset and size:
        raise UserError(
            f"--preset {preset} and --size {size} both choose the sizes: give one of them"
        )
    if preset:
        names = [name for name, run in PRESETS.items() if run.kind == kind]
        if preset not in names:
            raise UserError(f"no preset {preset!r} of a {kind}: choose one of {', '.join(names)}")
        return PRESETS[preset]
    if size and size not in SIZES[kind]:
        raise UserError(f"no size {size!r}: choose one of {', '.join(SIZES[kind])}")
    return SIZES[kind][size or "nano"]
