"""Names that cards, weights and flags had before, so that what was saved then is still read."""

import re

from torch import Tensor

RENAMED_FIELDS = {  # of config.model and config.corpus, at any depth
    "vocabulary": "vocab_size",
    "length": "seq_len",
    "width": "d_model",
    "heads": "n_heads",
    "layers": "n_layers",
    "encoder_layers": "n_encoder_layers",
    "decoder_layers": "n_decoder_layers",
    "token_layers": "n_token_layers",
    "denoiser_layers": "n_denoiser_layers",
    "encoder_pull": "encoder_gradient_scale",
    "law": "terminal",
    "miss": "terminal_weight",
    "times": "time_distribution",
    "windows": "blocks",
    "lag": "max_offset",
    "together": "fully_parallel_fraction",
    "told": "next_token_fraction",
    "told_first": "next_token_steps",
    "ahead": "block_size",
    "known": "observed_fraction",
}
RENAMED_GENERATION = {  # fields of config.model that went into config.model.generation
    "writing_solver": "solver",
    "writing_temperature": "temperature",
    "writing_lag": "offset",
    "writing_bound": "entropy_bound",
}
RENAMED_VALUES = {  # old field -> old value -> value
    "head": {"words": "tokens", "clean": "denoised"},
    "writing_solver": {"drawn": "sampled", "paced": "entropy_bounded"},
}
RENAMED_CARD = {"kind": "model_type"}  # entries of a card
RENAMED_MODELS = {  # of the zoo, and presets
    "gpt-brief": "gpt-cpu",
    "masked-brief": "masked-cpu",
    "ldlm-brief": "ldlm-cpu",
    "manta-brief": "manta-cpu",
    "manta-brief-windows": "manta-cpu-blocks",
    "manta-windows": "manta-blocks",
}
RENAMED_WEIGHTS = (  # regular expressions of names of tensors
    (r"(^|\.)enter\.", r"\1in_proj."),
    (r"(^|\.)leave\.", r"\1out_proj."),
    (r"(^|\.)leave_encoder\.", r"\1encoder_out_proj."),
    (r"(^|\.)mix\.taps$", r"\1conv.kernel"),
    (r"(^|\.)policy\.words\.", r"\1policy.token_embedding."),
    (r"(^|\.)policy\.gap$", r"\1policy.gap_embedding"),
    (r"(^|\.)log_width$", r"\1log_std"),
    (r"\.operator\.share\.", ".operator.assign."),
    (r"\.operator\.mixing\.", ".operator.qkv."),
)


def current_model(name: str) -> str:
    """Today's name of a preset or of a model of the zoo, with or without `zoo:` before it.

    Args:
        name: Of today or of before.

    Returns:
        The name.
    """
    place, colon, model = name.rpartition(":")
    return place + colon + RENAMED_MODELS.get(model, model)


def current_fields(fields: dict) -> dict:
    """The fields of a configuration under the names of today.

    Args:
        fields: By name, as a card has them.

    Returns:
        Fields by name; those that were there already stay as they are.
    """
    found, generation = {}, {}
    for name, value in fields.items():
        if isinstance(value, dict):
            value = current_fields(value)
        elif isinstance(value, str):
            value = current_model(RENAMED_VALUES.get(name, {}).get(value, value))
        if name in RENAMED_GENERATION:
            generation[RENAMED_GENERATION[name]] = value
        else:
            found[RENAMED_FIELDS.get(name, name)] = value
    if generation:
        found["generation"] = {"steps": 32, "solver": "ancestral"} | generation
    return found


def current_card(card: dict) -> dict:
    """A card under the names of today.

    Args:
        card: Of a checkpoint or of a model of the zoo, of today or of before.

    Returns:
        The card.
    """
    card = dict(card)
    for old, new in RENAMED_CARD.items():
        if old in card:
            card[new] = card.pop(old)
    if isinstance(card.get("config"), dict):
        config = card["config"] = dict(card["config"])
        for part in config.keys() & {"model", "corpus"}:
            if isinstance(config[part], dict):
                config[part] = current_fields(config[part])
    if isinstance(card.get("frozen"), dict):
        card["frozen"] = current_fields(card["frozen"])
    return card


def current_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of today.

    Args:
        tensors: Name of today or of before -> tensor.

    Returns:
        Name -> tensor.
    """

    def current(name: str) -> str:
        for old, new in RENAMED_WEIGHTS:
            name = re.sub(old, new, name)
        return name

    return {current(name): x for name, x in tensors.items()}
