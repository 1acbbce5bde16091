"""Thousands of damaged files for each reader: it works or says in one sentence what is wrong, and damages nothing."""

import random
import time

import numpy as np
import pytest
import torch

from minildm import pretrained
from minildm.cli.train import schedule
from minildm.models.gpt import GPT, GPTConfig
from minildm.text.corpora import load_corpus
from minildm.text.tokenizers import BytePairTokenizer, WordTokenizer
from minildm.training.checkpoint import config_card
from minildm.training.config import TrainConfig
from minildm.training.loop import Trainer
from minildm.training.metrics import read_metrics

from . import mutants
from .mutants import COUNT, bytes_like, json_like, survive

WORDS = WordTokenizer([f"w{i}" for i in range(16)])
PAIRS = BytePairTokenizer.train(["the old fox went to the mill and the owl to the lake " * 9], 268)
ROWS = np.random.default_rng(0).integers(4, 20, (16, 8)).astype(np.uint16)


def test_a_reader_that_catches_everything_is_still_too_slow(tmp_path, monkeypatch):
    def read() -> None:
        try:
            time.sleep(9)
        except Exception:
            pass

    monkeypatch.setattr(mutants, "PATIENCE", 0.05)
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(pytest.fail.Exception, match="Late: a reader took longer than"):
        survive(tmp_path / "file", read, bytes_like, "slow", 1)


def either(rng: random.Random, content: bytes) -> bytes:
    """JSON with other values, or other bytes."""
    return (json_like if rng.random() < 0.6 else bytes_like)(rng, content)


def trainer(run, tokenizer=WORDS) -> Trainer:
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=tokenizer.size, seq_len=8, d_model=8, n_heads=2, n_layers=1))
    config = TrainConfig(steps=2, batch=8, log_every=1, save_every=1)
    card = {
        "kind": "gpt",
        "tokenizer": tokenizer.card(),
        "config": {"model": config_card(model.config), "train": config_card(config)},
    }
    return Trainer(model, ROWS, config, run, card)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    trainer(folder).fit(quiet=True)
    return folder


@pytest.mark.parametrize("name, divisor", [("model", 2), ("ema", 4), ("optimizer", 4)])
def test_tensors_of_a_checkpoint(name, divisor, run):
    resumed = trainer(run)
    survive(
        run / "step_0000002" / f"{name}.safetensors",
        resumed.resume,
        bytes_like,
        name,
        COUNT // divisor,
        run,
    )


@pytest.mark.parametrize("read, divisor", [("resume", 2), ("load", 4)])
def test_cards(read, divisor, run):
    resumed = trainer(run)

    def go_on() -> str | None:
        return schedule(resumed) if resumed.resume() else None

    read_again = go_on if read == "resume" else lambda: pretrained.load(run)
    survive(run / "step_0000002" / "card.json", read_again, either, read, COUNT // divisor, run)


def test_cards_with_byte_pairs(tmp_path):
    run = tmp_path / "run"
    trainer(run, PAIRS).fit(quiet=True)
    survive(
        run / "step_0000002" / "card.json",
        lambda: pretrained.load(run),
        either,
        "pairs",
        COUNT // 4,
        run,
    )


def test_metrics_logs(run):
    path = run / "metrics.jsonl"
    survive(path, lambda: read_metrics(path), bytes_like, "bytes", COUNT // 2)
    survive(path, lambda: pretrained.minutes(run), bytes_like, "minutes", COUNT // 4)

    def values(rng: random.Random, content: bytes) -> bytes:
        lines = content.splitlines()
        lines[rng.randrange(len(lines))] = json_like(rng, lines[0])
        return b"\n".join(lines) + b"\n"

    survive(path, lambda: pretrained.minutes(run), values, "values", COUNT // 4)


TEXT = "The old fox went to the mill.\r\n\r\nThe owl, na\u00efve, with e\u0301 and \U0001f98a, slept.\n \nThen it rained."


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_corpus_files(encoding, tmp_path, cache):
    path = tmp_path / "text.txt"
    path.write_bytes((3 * TEXT).encode(encoding, "replace"))

    def read() -> None:
        corpus = load_corpus(f"file:{path}", 12, tokenizer=PAIRS)
        found = [row.tolist() for part in (corpus.train, corpus.valid) for row in part]
        assert all(
            len(row) == 12 and max(row) < PAIRS.size for row in found
        ) and corpus.tokenizer.decode(found[0])

    survive(path, read, bytes_like, encoding, COUNT // 4)
    assert not list(cache.glob("*.tmp"))


@pytest.mark.parametrize(
    "name, divisor", [("train.npy", 2), ("valid.npy", 8), ("card.json", 4), ("tokenizer.json", 8)]
)
def test_cached_corpora(name, divisor, tmp_path, cache):
    path = tmp_path / "text.txt"
    path.write_text(3 * TEXT)
    first = load_corpus(f"file:{path}", 12, vocab_size=268)
    folder = next(cache.iterdir())

    def read() -> None:
        again = load_corpus(f"file:{path}", 12, vocab_size=268)
        assert np.array_equal(again.train, first.train) and np.array_equal(again.valid, first.valid)
        assert again.tokenizer.card() == first.tokenizer.card()

    survive(
        folder / name,
        read,
        either if name.endswith("json") else bytes_like,
        name,
        COUNT // divisor,
        tmp_path,
    )
