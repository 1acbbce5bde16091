"""What Muon and the short convolution each bring to a small GPT that learns Tales.

The negative log-likelihood of a species is that of the word after "NAME the" once the tale is under
way: 0 nats if the model binds names to species, and log 3 nats if it knows only who is in the tale.
"""

from dataclasses import replace
from pathlib import Path

import torch

from ..models.gpt import GPT
from ..text.batches import tensor
from ..text.corpora import Corpus, load_corpus
from ..text.tales_entropy import entropy
from ..text.tales_parser import read
from ..training.presets import PRESETS
from .common import trained
from .record import Record

TEXTS = 1000  # validation tales
RATES = {"adamw": 2e-3, "muon": 4e-3}  # learning rates


@torch.no_grad()
def measure(model: GPT, corpus: Corpus) -> dict[str, float]:
    """Nats of a validation tale, their excess over the entropy, and the nats of a species."""
    rows = tensor(corpus.valid[:TEXTS])
    nll = torch.cat([model.token_nll(part) for part in rows.split(250)])
    species = [
        nats[sentence.at["species"]]
        for row, nats in zip(rows.tolist(), nll.tolist())
        for sentence in read(corpus.tokenizer.decode(row))[1]
        if sentence.key != "opening" and "species" in sentence.at
    ]
    tale = nll.sum().item() / len(rows)
    return {
        "nats_per_tale": tale,
        "excess": tale / entropy(3) - 1,
        "nats_per_species": sum(species) / len(species),
    }


def run(out: Path = Path("runs/ch11_binding.json"), steps: int = 1000) -> None:
    """What Muon and the short convolution each bring to a GPT that binds names to species.

    Args:
        out: File of the record.
        steps: Training steps of each of the 4 models.
    """
    preset = PRESETS["gpt-cpu"]
    corpus = load_corpus(
        preset.corpus.name, preset.model.seq_len, documents=preset.corpus.documents
    )
    record = Record(out, steps=steps, batch=preset.train.batch)
    for optimizer, rate in RATES.items():
        for convolution in (False, True):
            case = {"optimizer": optimizer, "convolution": convolution}
            if case in record:
                continue
            torch.manual_seed(0)
            model = GPT(replace(preset.model, vocab_size=corpus.tokenizer.size))
            model.conv.kernel.requires_grad_(convolution)
            train = replace(preset.train, steps=steps, optimizer=optimizer, ema=0.995, lr=rate)
            folder = out.parent / "runs" / f"{out.stem}_{optimizer}_{convolution}"
            trained(model, corpus.train, train, folder)
            record.add(case | {"lr": rate, **measure(model, corpus)})
