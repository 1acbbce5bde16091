"""Presets: the runs that made the zoo, and a dial of sizes up to those of published models."""

from dataclasses import replace
from typing import Any

from ..errors import UserError
from ..models.generation import GenerationDefaults, HorizonGeneration, MantaGeneration
from ..models.gpt import GPTConfig
from ..models.horizon import HorizonConfig
from ..models.ldlm import LDLMConfig
from ..models.manta_config import MantaLMConfig
from ..models.masked import MaskedDiffusionConfig
from ..models.recipe import Recipe
from ..models.registry import MODEL_TYPES, type_of
from ..models.vae import VAEConfig
from .config import TrainConfig
from .renamed import current_model
from .runs import CorpusConfig, Run

SIZES = ("nano", "micro", "small", "base")  # a preset TYPE-SIZE each


MANY_TALES = CorpusConfig(documents=200_000)
TALES_AND_PIECES = CorpusConfig("tales:3+30", documents=200_000)
MILLION_TALES = CorpusConfig(documents=1_000_000)
STORIES = CorpusConfig("hub:roneneldan/TinyStories", 8_192, True, 500_000)
OPEN_TEXT = CorpusConfig("hub:Skylion007/openwebtext", 32_768, True, 1_000_000)

NANO = TrainConfig(steps=600, batch=32, lr=3e-3, warmup=50, ema=0.99, bf16=True)
MICRO = TrainConfig(
    steps=7500,
    batch=64,
    lr=4e-3,
    warmup=200,
    bf16=True,
    ema=0.998,
    final_lr=0.02,
    log_every=50,
)
SMALL = TrainConfig(steps=50_000, batch=128, lr=1e-3, warmup=500, bf16=True, compile=True)
BASE = TrainConfig(
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
)
GPU = {  # a million tales in large batches
    "steps": 18_000,
    "batch": 256,
    "compile": True,
    "log_every": 200,
    "eval_every": 6000,
    "save_every": 1500,
}
SECOND = {"lr": 2e-3, "warmup": 50, "seed": 1}  # round, from the weights of the first

RECIPE = Recipe(warmup=600, decoder_noise=0.5, encoder_gradient_scale=0.05, draws=4)
BLOCKS = MantaLMConfig(
    n_layers=4,
    blocks=True,
    max_offset=16.0,
    next_token_fraction=0.35,
    next_token_steps=700,
    observed_fraction=0.2,
)
NEXT_TOKENS = replace(
    BLOCKS,
    next_token_fraction=0.9,
    next_token_steps=0,
    block_size=6,
    generation=MantaGeneration(solver="entropy_bounded"),
)


def on_a_gpu(run: Run, **train) -> Run:
    """A run on a million tales in large batches, as a GPU likes them."""
    return replace(run, train=replace(run.train, **(GPU | train)), corpus=MILLION_TALES)


GPT_CPU = Run(GPTConfig(), replace(MICRO, steps=5000), MANY_TALES)
MASKED_CPU = Run(MaskedDiffusionConfig(), MICRO, MANY_TALES)
LDLM_CPU = Run(
    LDLMConfig(n_encoder_layers=1, recipe=RECIPE),
    replace(MICRO, batch=16, lr=3e-3, ema=0.999),
    MANY_TALES,
)
LDLM_TALES = LDLMConfig(
    n_encoder_layers=1,
    n_denoiser_layers=12,
    generation=GenerationDefaults(temperature=0.5),
    recipe=replace(RECIPE, warmup=2000),
)
LDLM_MATCHED = LDLMConfig(  # about as many weights as the others have
    d_model=96,
    n_encoder_layers=1,
    n_decoder_layers=1,
    n_denoiser_layers=4,
    recipe=replace(RECIPE, warmup=1500),
)
VAE_TALES = Run(VAEConfig(), replace(MICRO, steps=2000, lr=3e-3, warmup=100, ema=0.99), MANY_TALES)
MANTA_CPU = Run(BLOCKS, replace(MICRO, steps=6000), MANY_TALES)
HORIZON = HorizonConfig(recipe=replace(RECIPE, warmup=200, draws=3))
LDLM_SMALL = LDLMConfig(
    seq_len=128,
    frozen="hub:gpt2",
    latent=128,
    d_model=384,
    n_heads=6,
    n_encoder_layers=3,
    n_decoder_layers=3,
    n_token_layers=2,
    n_denoiser_layers=8,
    recipe=Recipe(warmup=5000),
)
LDLM_BASE = replace(
    LDLM_SMALL,
    latent=768,
    d_model=768,
    n_heads=12,
    n_encoder_layers=6,
    n_decoder_layers=6,
    n_token_layers=3,
    n_denoiser_layers=12,
    recipe=Recipe(warmup=50_000),
)
LONG_HORIZONS: dict[str, Any] = {  # of models whose texts have 128 latents
    "reach": None,
    "shortest": 32.0,
    "longest": 320.0,
    "generation": HorizonGeneration(),
}

PRESETS = {
    # the zoo
    "gpt-tales": on_a_gpu(GPT_CPU),
    "masked-tales": on_a_gpu(MASKED_CPU),
    "ldlm-tales": on_a_gpu(
        replace(LDLM_CPU, model=LDLM_TALES),
        steps=36_000,
        batch=128,
        lr=2e-3,
        warmup=500,
        log_every=100,
        eval_every=3000,
        save_every=3000,
    ),
    "ldlm-matched": on_a_gpu(replace(LDLM_CPU, model=LDLM_MATCHED)),
    "manta-blocks": on_a_gpu(MANTA_CPU, steps=15_000),
    "manta-tales": on_a_gpu(replace(MANTA_CPU, model=NEXT_TOKENS), steps=3000, **SECOND),
    "manta-horizon-tales": Run(
        HORIZON,
        replace(MICRO, steps=2200, batch=16, lr=1.5e-3, warmup=50, ema=0.995),
        TALES_AND_PIECES,
    ),
    "vae-tales": VAE_TALES,
    "gpt-cpu": GPT_CPU,
    "masked-cpu": MASKED_CPU,
    "ldlm-cpu": LDLM_CPU,
    "manta-cpu-blocks": MANTA_CPU,
    "manta-cpu": Run(NEXT_TOKENS, replace(MICRO, steps=1500, **SECOND), MANY_TALES),
    # the dial
    "gpt-nano": Run(GPTConfig(d_model=64, n_heads=2, n_layers=3), NANO),
    "gpt-micro": GPT_CPU,
    "gpt-small": Run(
        GPTConfig(seq_len=256, d_model=384, n_heads=6, n_layers=6),
        replace(SMALL, steps=20_000),
        STORIES,
    ),
    "gpt-base": Run(
        GPTConfig(seq_len=1024, d_model=768, n_heads=12, n_layers=12),
        replace(
            BASE,
            steps=600_000,
            batch=480,
            accumulate=5,
            lr=6e-4,
            warmup=2000,
            weight_decay=0.1,
            eval_every=2000,
            save_every=2000,
        ),
        OPEN_TEXT,
    ),
    "masked-nano": Run(MaskedDiffusionConfig(d_model=64, n_heads=2, n_layers=3), NANO),
    "masked-micro": MASKED_CPU,
    "masked-small": Run(
        MaskedDiffusionConfig(seq_len=128, d_model=384, n_heads=6, n_layers=8), SMALL, STORIES
    ),
    "masked-base": Run(
        MaskedDiffusionConfig(seq_len=128, d_model=768, n_heads=12, n_layers=12), BASE, OPEN_TEXT
    ),
    "ldlm-nano": Run(
        LDLMConfig(
            d_model=64,
            latent=16,
            n_heads=2,
            n_encoder_layers=1,
            n_decoder_layers=1,
            n_denoiser_layers=3,
            recipe=Recipe(warmup=200),
        ),
        replace(NANO, steps=400, lr=2e-3),
    ),
    "ldlm-micro": LDLM_CPU,
    "ldlm-small": Run(LDLM_SMALL, replace(SMALL, lr=5e-4, warmup=1000), STORIES),
    "ldlm-base": Run(LDLM_BASE, replace(BASE, lr=2e-4, warmup=1000), OPEN_TEXT),
    "vae-nano": Run(VAEConfig(d_model=64, latent=16, n_heads=2), replace(NANO, steps=300)),
    "vae-micro": VAE_TALES,
    "vae-small": Run(
        VAEConfig(seq_len=128, latent=64, d_model=384, n_heads=6, n_decoder_layers=2),
        replace(SMALL, steps=20_000),
        STORIES,
    ),
    "vae-base": Run(
        VAEConfig(seq_len=128, latent=128, d_model=768, n_heads=12, n_decoder_layers=4),
        replace(BASE, steps=100_000, warmup=1000),
        OPEN_TEXT,
    ),
    "manta-nano": Run(MantaLMConfig(d_model=64, n_heads=2, n_layers=3), NANO),
    "manta-micro": Run(MantaLMConfig(n_layers=4), MICRO, MANY_TALES),
    "manta-small": Run(
        MantaLMConfig(seq_len=128, d_model=384, n_heads=6, n_layers=8), SMALL, STORIES
    ),
    "manta-base": Run(
        MantaLMConfig(seq_len=128, d_model=768, n_heads=12, n_layers=12), BASE, OPEN_TEXT
    ),
    "manta-horizon-nano": Run(
        HorizonConfig(
            d_model=64, latent=16, n_heads=2, n_denoiser_layers=3, recipe=Recipe(warmup=200)
        ),
        replace(NANO, steps=400, lr=2e-3),
    ),
    "manta-horizon-micro": Run(
        replace(HORIZON, n_denoiser_layers=6),
        replace(MICRO, batch=16, lr=3e-3, ema=0.999),
        TALES_AND_PIECES,
    ),
    "manta-horizon-small": Run(
        HorizonConfig(**vars(LDLM_SMALL) | LONG_HORIZONS),
        replace(SMALL, lr=5e-4, warmup=1000),
        STORIES,
    ),
    "manta-horizon-base": Run(
        HorizonConfig(**vars(LDLM_BASE) | LONG_HORIZONS),
        replace(BASE, lr=2e-4, warmup=1000),
        OPEN_TEXT,
    ),
}


def foundation_of(run: Run) -> str:
    """The name of the pretrained part of a run whose model type has one.

    Args:
        run: The run.

    Returns:
        The name that the run says, its configuration, or else that of the zoo's model for Tales.
    """
    foundation = MODEL_TYPES[type_of(run.model)].foundation
    if foundation is None:
        return ""
    return run.foundation or getattr(run.model, foundation.flag, foundation.default)


def find_run(model_type: str, preset: str | None = None, size: str | None = None) -> Run:
    """The run that a preset or a size names; without either, the smallest.

    Args:
        model_type: A key of MODEL_TYPES.
        preset: A name of PRESETS.
        size: A name of SIZES.

    Returns:
        A `Run`; that of a model type without presets has the defaults of its configuration.

    Raises:
        UserError: On an unknown name, a preset of another model type, or both names at once.
    """
    if preset and size:
        raise UserError(
            f"--preset {preset} and --size {size} both choose the sizes: give one of them"
        )
    names = [name for name, run in PRESETS.items() if type_of(run.model) == model_type]
    if not names and not preset:
        return Run(MODEL_TYPES[model_type].config(), TrainConfig())
    if size and size not in SIZES:
        raise UserError(f"no size {size!r}: choose one of {', '.join(SIZES)}")
    name = current_model(preset or f"{model_type}-{size or SIZES[0]}")
    if name not in names:
        raise UserError(
            f"no preset {preset!r} of a {model_type}: choose one of {', '.join(names) or 'none'}"
        )
    return PRESETS[name]
