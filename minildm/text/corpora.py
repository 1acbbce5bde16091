"""Corpora: documents encoded once into memory-mapped rows of tokens, kept in a cache keyed by content."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from .sources import Source, sha256, source
from .tokenizers import BOS, EOS, PAD, BytePairTokenizer, Tokenizer, WordTokenizer, digest, load_tokenizer


@dataclass(frozen=True)
class Corpus:
    """A named corpus as tokens, ready for batches."""

    name: str  # as it was asked for: "tales", "file:PATH", ...
    tokenizer: Tokenizer  # between its text and its ids
    train: np.ndarray  # (rows, length) memory map of uint16 or uint32; a row is <bos> w_1 .. w_n <eos> <pad> ..
    valid: np.ndarray  # the same, disjoint from train
    card: dict  # what it is and how it was made, ready for JSON


def pad_rows(documents: list[list[int]], length: int, tokenizer: Tokenizer) -> np.ndarray:
    """One row a document, <bos> w_1 .. w_n <eos> <pad> ...

    Args: `documents`, ids without specials; `length` of a row in tokens; `tokenizer`, which spells a document that is
    too long. Returns int64 (rows, length). Raises UserError on a document that is too long.
    Derived in chapter 00. Source: ours.
    """
    rows = np.full((len(documents), length), PAD)
    longest = max(map(len, documents)) + 2
    for row, ids in zip(rows, documents):
        if len(ids) > length - 2:
            raise UserError(f"the document that begins {tokenizer.decode(ids[:20])!r} has {len(ids)} tokens, more than "
                            f"the {length - 2} that fit: raise --length to at least {longest} or pass --pack")
        row[:len(ids) + 2] = [BOS, *ids, EOS]
    return rows


def pack_rows(documents: list[list[int]], length: int) -> np.ndarray:
    """All documents as one stream w_1 .. w_n <eos> w_1 .., cut into rows after <bos>, int64 (rows, length)."""
    stream = np.array([i for ids in documents for i in (*ids, EOS)])
    count = len(stream) // (length - 1)
    if count == 0:
        raise UserError(f"a part of the corpus has {len(stream)} tokens, too few for one row of {length}: "
                        "lower --length or give more text")
    blocks = stream[:count * (length - 1)].reshape(count, length - 1)
    return np.pad(blocks, ((0, 0), (1, 0)), constant_values=BOS)


def build(folder: Path, name: str, origin: Source, length: int, tokenizer: Tokenizer | None, vocabulary: int,
          pack: bool) -> None:
    """Read, encode and lay out a corpus, and write it into a folder that appears whole or not at all."""
    parts = dict(zip(("train", "valid"), origin.read()))
    if not all(parts.values()):
        found = sum(map(len, parts.values()))
        raise UserError(f"the corpus {name} is empty: give one with text in it" if found == 0 else
                        f"the corpus {name} has {found} document(s), too few to train and validate: separate "
                        "documents by blank lines or give more text")
    tokenizer = tokenizer or (WordTokenizer(origin.words) if origin.words else
                              BytePairTokenizer.train(parts["train"], vocabulary))
    encoded = {part: [tokenizer.encode(d) for d in documents] for part, documents in parts.items()}
    dtype = np.uint16 if tokenizer.size <= 2 ** 16 else np.uint32
    rows = {part: (pack_rows(ids, length) if pack else pad_rows(ids, length, tokenizer)).astype(dtype)
            for part, ids in encoded.items()}
    card = {
        "name": name, "length": length, "pack": pack,
        "documents": {part: len(documents) for part, documents in parts.items()},
        "rows": {part: len(array) for part, array in rows.items()},
        "tokens": {part: int((array != PAD).sum()) for part, array in rows.items()},
        "sha256": {part: sha256(array.tobytes()) for part, array in rows.items()},
        "vocabulary": tokenizer.size, "tokenizer": digest(tokenizer.card()),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, suffix=".tmp") as beside:
            whole = Path(beside) / "corpus"
            whole.mkdir()
            for part, array in rows.items():
                np.save(whole / f"{part}.npy", array)
            (whole / "tokenizer.json").write_text(json.dumps(tokenizer.card()))
            (whole / "card.json").write_text(json.dumps(card, indent=1))
            os.rename(whole, folder)
    except OSError as fault:
        if not (folder / "card.json").exists():  # else another process was first, with the same content
            raise UserError(f"the cache {folder.parent} cannot be written ({fault.strerror}): "
                            "set MINILDM_CACHE to one that can") from None


def load_corpus(name: str, length: int, *, tokenizer: Tokenizer | None = None, vocabulary: int = 512,
                pack: bool = False, documents: int = 100_000) -> Corpus:
    """Load a corpus by name, from the cache when the same content was encoded before.

    Args: `name`, one of `sources.NAMES`; `length` of a row in tokens; `tokenizer`, by default words for Tales and byte
    pairs of `vocabulary` entries trained on the training part for real text; `pack`: join documents with <eos> and cut
    full rows, where otherwise each document is a row; `documents`: how many of a source that has no end.
    Returns a `Corpus` of memory maps.
    Raises UserError on an unknown name, a missing or empty source, text that is not UTF-8, a document that is too long,
    a word that the tokenizer does not have, and a missing extra or network. Derived in chapter 00. Source: ours.
    """
    if length < 3:
        raise UserError(f"a row of {length} tokens holds no text: give a --length of at least 3")
    if documents < 1:
        raise UserError(f"{documents} documents are no corpus: give --documents of at least 1")
    origin = source(name, documents)
    made_by = tokenizer.card() if tokenizer else vocabulary
    key = digest({"content": origin.fingerprint, "name": name, "tokenizer": made_by, "length": length, "pack": pack})
    folder = Path(os.environ.get("MINILDM_CACHE", "~/.cache/minildm")).expanduser() / "corpora" / key
    if not folder.exists():
        build(folder, name, origin, length, tokenizer, vocabulary, pack)
    return Corpus(name, tokenizer or load_tokenizer(json.loads((folder / "tokenizer.json").read_text())),
                  np.load(folder / "train.npy", mmap_mode="r"), np.load(folder / "valid.npy", mmap_mode="r"),
                  json.loads((folder / "card.json").read_text()))
