"""How well a model knows texts it did not write: nats of a GPT or a masked model, reconstruction by
an LDLM or a VAE, and misses of a Manta-LM.
"""

import math

import numpy as np
import torch

from ..dynamics.precision import double
from ..models.base import BOS, PAD, LanguageModel
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.manta import Manta
from ..models.masked import Masked
from ..models.vae import VAE
from ..text.batches import valid_batches
from ..text.corpora import pad_rows
from ..text.tales import split
from ..text.tales_parser import log_prob
from ..text.tokenizers import Tokenizer

DRAWS = 16  # times at which the bound of a masked model looks at each text


@torch.no_grad()
def cross_entropy(model: GPT, rows: np.ndarray, batch: int = 64) -> dict[str, float]:
    """Mean nats a token and perplexity; nats of all tokens are pooled before the exponential.

    exp( - sum_i log p(w_i | w_<i) / number of tokens )

    Args:
        model: The model.
        rows: (rows, length), ids.
        batch: Rows at a time.

    Returns:
        "nats_per_token" and "perplexity", <eos> counted as a token.
    """
    nats, count = 0.0, 0
    for tokens in valid_batches(rows, batch):
        nats += double(model.token_nats(tokens.to(model.device))).sum().item()
        count += int((tokens[:, 1:] != PAD).sum())
    return {"nats_per_token": nats / count, "perplexity": math.exp(nats / count)}


@torch.no_grad()
def bound(model: Masked, rows: np.ndarray, batch: int = 64, draws: int = DRAWS) -> dict[str, float]:
    """Mean of a masked model's bound on the nats a token, with the standard error of its draws.

    -log p(w) <= E over t and masks of sum_{i masked} -log p_i(w_i | w_t) / (1 - t)

    Args:
        model: The model.
        rows: (rows, length), ids.
        batch: Rows at a time.
        draws: Of time and masks for each row.

    Returns:
        "nats_per_token", over all tokens but the first and padding, which is what a GPT is charged
        for, "nats_standard_error", and "perplexity".

    Derived in chapter 09. Source: MDLM 2406.07524.
    """
    rng, parts, count = torch.Generator(model.device).manual_seed(0), [], 0
    for tokens in valid_batches(rows, batch):
        tokens = tokens.to(model.device)
        count += int((tokens[:, 1:] != PAD).sum())
        parts += [torch.stack([double(model.bound(tokens, rng)) for _ in range(draws)])]
    nats = torch.cat(parts, dim=1)
    mean = nats.mean(0).sum().item() / count
    error = (nats.var(0) / draws).sum().sqrt().item() / count
    return {"nats_per_token": mean, "nats_standard_error": error, "perplexity": math.exp(mean)}


def nats(model: GPT | Masked, rows: np.ndarray) -> dict[str, float]:
    """Nats a token of a model that has a likelihood, or a bound on it.

    Args:
        model: The model.
        rows: (rows, length), ids.

    Returns:
        Figures of `cross_entropy` for a GPT, of `bound` for a masked model.
    """
    return cross_entropy(model, rows) if isinstance(model, GPT) else bound(model, rows)


def excess(
    model: GPT | Masked, tokenizer: Tokenizer, events: int, count: int = 2000
) -> dict[str, float]:
    """Nats of test tales above their exact entropy, as a share of it.

    sum (log p(tale) - log q(tale)) / sum (-log p(tale)), with p the exact law and q the model, or
    its bound

    Args:
        model: q.
        tokenizer: The tokenizer.
        events: A tale.
        count: Of test tales.

    Returns:
        "nats_per_tale" of the model, "exact_nats_per_tale", and "excess".
    """
    texts = split("test", count, events)
    documents = [tokenizer.encode(text) for text in texts]
    rows = pad_rows(documents, max(map(len, documents)) + 2, tokenizer)
    tokens = int((rows[:, 1:] != PAD).sum())
    own = nats(model, rows)["nats_per_token"] * tokens / count
    exact = -sum(map(log_prob, texts)) / count
    return {"nats_per_tale": own, "exact_nats_per_tale": exact, "excess": own / exact - 1}


@torch.no_grad()
def reconstruction(model: LDLM | VAE, rows: np.ndarray, batch: int = 64) -> dict[str, float]:
    """Texts through encoder and decoder and back: share of tokens that return, T(D(E(h))) = w.

    Args:
        model: An LDLM with its frozen encoder, or a VAE, whose latents are drawn.
        rows: (rows, length), ids.
        batch: Rows at a time.

    Returns:
        "token_accuracy" over words and <eos>, "row_accuracy" with padding, and "whole_texts", the
        share of texts that return without a fault.

    Raises:
        UserError: Without the frozen encoder.
    """
    right = words = all_right = whole = 0
    rng = torch.Generator(model.device).manual_seed(0)
    for tokens in valid_batches(rows, batch):
        tokens = tokens.to(model.device)
        if isinstance(model, VAE):
            read = model.read_off(model.encode(tokens, rng))[0]
        else:
            read = model.read_off(model.encode(model.hidden(tokens)), tokens.shape[1])[0]
        same, text = read == tokens, (tokens != PAD) & (tokens != BOS)
        right, words = right + int((same & text).sum()), words + int(text.sum())
        all_right, whole = all_right + int(same.sum()), whole + int((same | ~text).all(1).sum())
    return {
        "token_accuracy": right / words,
        "row_accuracy": all_right / rows.size,
        "whole_texts": whole / len(rows),
    }


@torch.no_grad()
def miss(model: Manta, rows: np.ndarray, batch: int = 64) -> dict[str, float]:
    """How far from the end of a held-out text a policy aims, on the way to it, as in training.

    E |z_hat(z_t, t) - z_1|^2 over positions under way, and the cross-entropy of the words behind
    them if it has a head for it

    Args:
        model: The model.
        rows: (rows, length), ids.
        batch: Rows at a time.

    Returns:
        The terms of its losses and "error".
    """
    rng, seen = torch.Generator(model.device).manual_seed(0), []
    for tokens in valid_batches(rows, batch):
        losses = model.losses(tokens.to(model.device), step=model.config.told_first, rng=rng)
        seen.append({**losses.terms, "error": losses.metrics["error"]})
    return {name: float(torch.stack([one[name] for one in seen]).mean()) for name in seen[0]}


def held_out(
    model: LanguageModel, tokenizer: Tokenizer, corpus: str, valid: np.ndarray
) -> dict[str, float]:
    """What a model's kind allows to measure on texts it has not seen.

    Args:
        model: The model.
        tokenizer: The tokenizer.
        corpus: Its name.
        valid: (rows, length), ids.

    Returns:
        Figures of `nats` and, on Tales, of `excess` for a GPT and a masked model; of
        `reconstruction` for an LDLM with its frozen encoder and for a VAE, of `miss` for a
        Manta-LM.
    """
    if isinstance(model, GPT | Masked):
        tales = corpus.partition(":")[0] == "tales"
        exact = excess(model, tokenizer, int(corpus.partition(":")[2] or 3)) if tales else {}
        return nats(model, valid) | exact
    if isinstance(model, Manta):
        return miss(model, valid)
    return reconstruction(model, valid) if isinstance(model, VAE) or model.frozen else {}
