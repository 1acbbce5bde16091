"""The study of a receding horizon: likelihoods along paths, and texts that end."""

import torch

from minildm.models.horizon import HorizonConfig, HorizonPolicy
from minildm.nets.horizon import HorizonNetworkConfig
from minildm.studies.ch13_horizon import FLIGHTS, Flight, levels_of, path_nats, write
from minildm.studies.record import results
from minildm.tokens import BOS, EOS
from minildm.transport.codebook import Codebook

WORDS = 9
N = 12


class Oracle(HorizonPolicy):
    """Knows the one text that there is."""

    text = torch.tensor([BOS, 4, 5, 6, 7, 8, 4, EOS, 0, 0, 0, 0])

    def logits(self, zt, t, blocks, tokens=None):
        found = torch.full((*zt.shape[:2], WORDS), -30.0)
        found.scatter_(2, self.text[blocks.positions].expand(zt.shape[:2])[..., None], 30.0)
        return found, None


def oracle() -> HorizonPolicy:
    book = Codebook(
        3 * torch.randn(WORDS, 4, generator=torch.Generator().manual_seed(0)), torch.full((4,), 0.1)
    )
    network = HorizonNetworkConfig(4, WORDS, d_model=8, n_heads=2, n_layers=1)
    config = HorizonConfig(vocab_size=WORDS, seq_len=N, network=network)
    return Oracle(config, book, torch.full((WORDS,), 1 / WORDS))


def test_what_is_known_costs_nothing_along_any_path():
    model = oracle()
    texts = model.text.expand(4, -1)
    assert all(path_nats(model, texts, horizon, 3) < 1e-6 for horizon in (1, 4, 0))


def test_the_texts_are_written_by_each_flight():
    model = oracle()
    for flight in FLIGHTS.values():
        texts, nfe = write(model, 3, flight, 0)
        assert torch.equal(texts[:, :8], model.text[:8].expand(3, -1))
        assert nfe <= len(levels_of(flight, N)) - 1


def test_a_text_is_charged_until_it_ends():
    model = oracle()
    _, nfe = write(model, 3, Flight(4, 2), 0)
    levels = levels_of(Flight(4, 2), N)
    assert nfe == next(k for k, v in enumerate(levels) if v[7] >= 1)


def test_the_likelihood_ranks_paths_as_the_texts_do():
    row = results("ch13_horizon")["rows"][0]
    nats = [row["nats"][name] for name in ("1", "8", "0")]
    names = "autoregressive", "horizon 8, 8 refinements", "all at once, 32 steps"
    good = [row["texts"][name]["grammatical"] for name in names]
    assert nats == sorted(nats)
    assert good == sorted(good, reverse=True)
