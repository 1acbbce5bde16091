"""Likelihoods and reconstructions against what can be known without a trained model."""

import math

import numpy as np
import pytest
import torch

from minildm.errors import UserError
from minildm.evaluation.likelihood import excess, figures_of, held_out
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.ldlm import LDLM, LDLMConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.text import tales
from minildm.text.batches import valid_batches
from minildm.text.tales_parser import log_prob
from minildm.text.tokenizers import WordTokenizer

ROWS = np.array([[1, 5, 6, 2, 0, 0], [1, 7, 8, 9, 10, 2], [1, 4, 2, 0, 0, 0]], dtype=np.uint16)


@pytest.fixture
def gpt():
    torch.manual_seed(0)
    return GPT(GPTConfig(vocab_size=12, seq_len=6, d_model=16, n_heads=2, n_layers=1)).eval()


def test_a_uniform_model_has_the_log_of_its_vocabulary(gpt):
    torch.nn.init.zeros_(gpt.embedding.weight)
    scores = figures_of(gpt, ROWS)
    assert scores["nats_per_token"] == pytest.approx(math.log(12)) and scores[
        "perplexity"
    ] == pytest.approx(12)


def test_nats_are_means_over_tokens_not_batches(gpt):
    of_all_tokens = figures_of(gpt, ROWS)["nats_per_token"]
    assert figures_of(gpt, ROWS, batch=1)["nats_per_token"] == pytest.approx(
        of_all_tokens, rel=1e-6
    )
    nats = gpt.token_nll(torch.from_numpy(ROWS.astype(np.int64))).sum().item()
    assert of_all_tokens == pytest.approx(nats / 10, rel=1e-6)  # 3 + 5 + 2 tokens after <bos>


def test_the_bound_of_a_uniform_masked_model_counts_masks():
    """Each draw is log V times the masks over their expected share: log V a position in the mean, charged to 10 tokens."""
    model = MaskedDiffusion(
        MaskedDiffusionConfig(vocab_size=12, seq_len=6, d_model=16, n_heads=2, n_layers=1)
    ).eval()
    torch.nn.init.zeros_(model.embedding.weight)
    scores = model.held_out(valid_batches(ROWS, 2), draws=4000)
    mean = math.log(11) * 18 / 10  # 18 positions; <mask> itself is never predicted
    assert scores["nats_per_token"] == pytest.approx(mean, abs=4 * scores["nats_standard_error"])
    assert scores["nats_standard_error"] < 0.05 * mean
    assert scores["perplexity"] == pytest.approx(math.exp(scores["nats_per_token"]))
    words = WordTokenizer(tales.vocabulary())
    model = MaskedDiffusion(
        MaskedDiffusionConfig(vocab_size=words.size, seq_len=64, d_model=16, n_heads=2, n_layers=1)
    ).eval()
    kept = held_out(model, words, "tales:3", ROWS)
    assert {"excess", "nats_standard_error"} <= kept.keys() and kept["excess"] > 0


def test_excess_is_relative_to_the_exact_distribution():
    words = WordTokenizer(tales.vocabulary())
    model = GPT(
        GPTConfig(vocab_size=words.size, seq_len=64, d_model=16, n_heads=2, n_layers=1)
    ).eval()
    torch.nn.init.zeros_(model.embedding.weight)
    scores = excess(model, words, events=3, count=20)
    texts = tales.split("test", 20, 3)
    exact = -sum(map(log_prob, texts)) / 20
    uniform = math.log(words.size) * sum(len(text.split()) + 1 for text in texts) / 20
    assert scores["exact_nats_per_tale"] == pytest.approx(exact)
    assert scores["nats_per_tale"] == pytest.approx(uniform, rel=1e-5)
    assert scores["excess"] == pytest.approx(uniform / exact - 1, rel=1e-5)
    assert (
        held_out(model, words, "tales:3", ROWS).keys()
        == figures_of(model, ROWS).keys() | scores.keys()
    )
    assert held_out(model, words, "kjv", ROWS).keys() == {"nats_per_token", "perplexity"}


class Echo(LDLM):
    """An LDLM whose states are its tokens and whose decoder errs at chosen places."""

    wrong: tuple[tuple[int, int], ...] = ()

    def hidden(self, tokens):
        return tokens[..., None].float()

    def encode(self, h):
        return h

    def decode_tokens(self, z1, length):
        tokens = z1[..., 0].long()
        for place in self.wrong:
            tokens[place] += 1
        return tokens, torch.ones_like(z1[..., 0])


def test_reconstruction_counts_words_and_padding_apart():
    model = Echo(
        LDLMConfig(
            vocab_size=12,
            seq_len=6,
            hidden=16,
            latent=4,
            d_model=16,
            n_heads=2,
            n_denoiser_layers=1,
        )
    )
    model.frozen = True
    assert figures_of(model, ROWS) == {
        "token_accuracy": 1.0,
        "row_accuracy": 1.0,
        "whole_texts": 1.0,
    }
    model.wrong = ((0, 4), (1, 2))  # a padding of the first row, a word of the second
    assert figures_of(model, ROWS) == pytest.approx(
        {"token_accuracy": 9 / 10, "row_accuracy": 16 / 18, "whole_texts": 2 / 3}
    )


def test_reconstruction_needs_the_frozen_encoder():
    model = LDLM(
        LDLMConfig(
            vocab_size=12,
            seq_len=6,
            hidden=16,
            latent=4,
            d_model=16,
            n_heads=2,
            n_denoiser_layers=1,
        )
    )
    with pytest.raises(UserError, match="without its frozen encoder"):
        model.hidden(torch.from_numpy(ROWS.astype(np.int64)))
    assert held_out(model, WordTokenizer(["w"]), "tales", ROWS) == {}
