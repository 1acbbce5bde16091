"""Corpora: documents encoded once into memory-mapped rows of tokens, kept in a cache by content."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from ..errors import UserError, check_place
from ..tokens import BOS, EOS, PAD
from .cache import cache_folder, describe, id_type, read_cache, write_cache
from .sources import Bar, Source, sha256, source
from .tokenizers import BytePairTokenizer, Tokenizer, WordTokenizer, digest, load_tokenizer

LONGEST = 16_384  # tokens of a row
MOST_DOCUMENTS = 10_000_000
LARGEST = 2**31  # tokens of a part of a corpus
# A piece of a document, cut where a token of byte pairs begins.
PIECE = re.compile(r"(?s).{1,8192}(?:(?<=\S)(?= \S)|\Z)|.{1,8192}")

Item = TypeVar("Item")
Encoded = Sequence[Sequence[int] | np.ndarray]  # the ids of each document, without special tokens


@dataclass(frozen=True)
class Corpus:
    """A named corpus as tokens, ready for batches.

    A row is <bos> w_1 .. w_n <eos> <pad> .., or <bos> and a cut of all documents where they are
    packed.
    """

    name: str  # as it was asked for: "tales", "file:PATH", ...
    tokenizer: Tokenizer  # between its text and its ids
    train: np.ndarray  # (rows, length) memory map of uint16 or uint32
    valid: np.ndarray  # the same, disjoint from train
    card: dict[str, Any]  # what it is and how it was made, ready for JSON


@dataclass(frozen=True)
class Request:
    """How a corpus is to be made out of its documents."""

    name: str
    length: int  # of a row in tokens
    tokenizer: Tokenizer | None  # None: words for Tales, else trained byte pairs
    vocab_size: int  # of trained byte pairs
    pack: bool  # join documents with <eos> and cut full rows

    def key(self, origin: Source) -> str:
        """The name of its folder in the cache."""
        return digest(
            {
                "content": origin.fingerprint,
                "name": self.name,
                "tokenizer": self.tokenizer.card() if self.tokenizer else self.vocab_size,
                "length": self.length,
                "pack": self.pack,
            }
        )


def no_progress(things: Iterable[Item], what: str, count: int) -> Iterable[Item]:
    """No progress bar."""
    return things


def progress(things: Iterable[Item], what: str, count: int) -> Iterable[Item]:
    """A progress bar of what takes longer than a moment; it goes when it is done."""
    return tqdm(things, what, count, leave=False, mininterval=0.5, delay=0.5, dynamic_ncols=True)


def check_sizes(length: int, documents: int) -> None:
    """Refuse rows and numbers of documents that make no corpus."""
    if length < 3:
        raise UserError(f"a row of {length} tokens holds no text: give a --length of at least 3")
    if length > LONGEST:
        raise UserError(
            f"a row of {length} tokens is too long to train on: "
            f"give a --length of at most {LONGEST}"
        )
    if documents < 1:
        raise UserError(f"{documents} documents are no corpus: give --documents of at least 1")
    if documents > MOST_DOCUMENTS:
        raise UserError(
            f"{documents} documents are too many: give --documents of at most {MOST_DOCUMENTS}"
        )


def refuse_rows(count: int, length: int) -> None:
    """Refuse more rows than are held at a time."""
    if count * length > LARGEST:
        raise UserError(
            f"{count:,} rows of {length:,} tokens are too many to hold: "
            "lower --length or --documents"
        )


def pad_rows(documents: Encoded, length: int, tokenizer: Tokenizer) -> np.ndarray:
    """One row a document, <bos> w_1 .. w_n <eos> <pad> ...

    Args:
        documents: The ids of each, without special tokens.
        length: Of a row in tokens.
        tokenizer: Spells a document that is too long.

    Returns:
        int64 (rows, length).

    Raises:
        UserError: On a document that is too long.
    """
    refuse_rows(len(documents), length)
    rows = np.full((len(documents), length), PAD)
    longest = max(map(len, documents)) + 2
    for row, ids in zip(rows, documents):
        if len(ids) > length - 2:
            raise UserError(
                f"the document that begins {tokenizer.decode(ids[:20])!r} has {len(ids)} tokens, "
                f"more than the {length - 2} that fit: "
                f"raise --length to at least {longest} or pass --pack"
            )
        row[: len(ids) + 2] = [BOS, *ids, EOS]
    return rows


def cut_rows(documents: Encoded, length: int, tokenizer: Tokenizer) -> np.ndarray:
    """One row a document where it fits, and full rows out of the middle of those that are longer.

    Args:
        documents: The ids of each, without special tokens.
        length: Of a row in tokens.
        tokenizer: Of the ids.

    Returns:
        int64 (rows, length); a piece holds `length` tokens in a row, the last one ends in <eos>.
    """
    whole = [ids for ids in documents if len(ids) <= length - 2]
    streams = [np.append(ids, EOS) for ids in documents if len(ids) >= 2 * length]
    pieces = [
        stream[start : start + length]
        for stream in streams
        for start in (*range(length, len(stream) - length, length), len(stream) - length)
    ]
    refuse_rows(len(whole) + len(pieces), length)
    return np.concatenate((pad_rows(whole, length, tokenizer), np.stack(pieces)))


def pack_rows(documents: Encoded, length: int) -> np.ndarray:
    """All documents as one stream w_1 .. w_n <eos> w_1 .., cut into rows after <bos>.

    Args:
        documents: The ids of each, without special tokens.
        length: Of a row in tokens.

    Returns:
        int64 (rows, length).

    Raises:
        UserError: When the documents do not fill one row.
    """
    stream = np.concatenate([part for ids in documents for part in (ids, [EOS])]).astype(np.int64)
    count = len(stream) // (length - 1)
    if count == 0:
        raise UserError(
            f"a part of the corpus has {len(stream)} tokens, too few for one row of {length}: "
            "lower --length or give more text"
        )
    blocks = stream[: count * (length - 1)].reshape(count, length - 1)
    return np.pad(blocks, ((0, 0), (1, 0)), constant_values=BOS)


def encode(documents: list[str], tokenizer: Tokenizer, what: str, bar: Bar) -> list[np.ndarray]:
    """The ids of each document; a long one is encoded piece by piece."""
    cut = [PIECE.findall(document) for document in documents]
    pieces = bar([piece for each in cut for piece in each], what, sum(map(len, cut)))
    ids = (np.array(tokenizer.encode(piece), id_type(tokenizer.size)) for piece in pieces)
    return [np.concatenate([next(ids) for _ in each]) for each in cut]


def read_parts(origin: Source, name: str, bar: Bar) -> tuple[dict[str, list[str]], int]:
    """The documents of both parts, and how many of the second were left out as in the first."""
    train, valid = origin.read(bar)
    in_train = set(train)
    fresh = [document for document in valid if document not in in_train]
    found = len(train) + len(valid)
    if found == 0:
        raise UserError(f"the corpus {name} is empty: give one with text in it")
    if valid and not fresh:
        raise UserError(
            f"all {len(valid)} documents of {name} kept for validation are also in its training "
            "part: give a text that repeats itself less"
        )
    if not (train and fresh):
        raise UserError(
            f"the corpus {name} has {found} document(s), too few to train and validate: "
            "give more text"
        )
    return {"train": train, "valid": fresh}, len(valid) - len(fresh)


def train_tokenizer(documents: list[str], vocab_size: int, bar: Bar) -> BytePairTokenizer:
    """A byte-pair tokenizer learned from the documents to train on."""
    pieces = [piece for document in documents for piece in PIECE.findall(document)]
    return BytePairTokenizer.train(bar(pieces, "learning a tokenizer", len(pieces)), vocab_size)


def build(folder: Path, request: Request, origin: Source, bar: Bar = no_progress) -> None:
    """Read and encode a corpus, and write it into a folder that appears whole or not at all.

    Prose whose documents are too long for a row each is packed unasked.
    """
    tokenizer = request.tokenizer
    length = request.length
    if origin.language:
        tokenizer = tokenizer or WordTokenizer(origin.language.words)
        if not request.pack:  # before all are written, is one too long?
            pad_rows([tokenizer.encode(origin.language.example)], length, tokenizer)
    parts, duplicates = read_parts(origin, request.name, bar)
    tokenizer = tokenizer or train_tokenizer(parts["train"], request.vocab_size, bar)
    encoded = {
        part: encode(documents, tokenizer, f"encoding, {part}", bar)
        for part, documents in parts.items()
    }
    longest = max(len(ids) for documents in encoded.values() for ids in documents)
    pack = request.pack or (longest > length - 2 and not origin.language)
    in_rows = cut_rows if origin.cut else pad_rows
    rows = {
        part: (pack_rows(ids, length) if pack else in_rows(ids, length, tokenizer)).astype(
            id_type(tokenizer.size)
        )
        for part, ids in encoded.items()
    }
    card = {
        "name": request.name,
        "length": length,
        "pack": pack,
        "documents": {part: len(documents) for part, documents in parts.items()},
        "rows": {part: len(array) for part, array in rows.items()},
        "tokens": {part: int((array != PAD).sum()) for part, array in rows.items()},
        "sha256": {part: sha256(array.tobytes()) for part, array in rows.items()},
        "vocabulary": tokenizer.size,
        "tokenizer": digest(tokenizer.card()),
    }
    if duplicates:
        card["duplicates"] = duplicates
    write_cache(folder, card, tokenizer.card(), rows)


def load_corpus(
    name: str,
    length: int,
    *,
    tokenizer: Tokenizer | None = None,
    vocab_size: int = 512,
    pack: bool = False,
    documents: int = 100_000,
    quiet: bool = True,
) -> Corpus:
    """Load a corpus by name, from the cache when the same content was encoded before.

    Args:
        name: One of `sources.NAMES`.
        length: Of a row in tokens.
        tokenizer: By default words for Tales, and byte pairs trained on the training part for real
            text.
        vocab_size: Entries of these byte pairs.
        pack: Join documents with <eos> and cut full rows, where otherwise each document is a row
            if all fit.
        documents: How many of a source that has no end.
        quiet: Say nothing of what is done and show no bars.

    Returns:
        A `Corpus` of memory maps.

    Raises:
        UserError: On an unknown name, a missing or empty source, text that is not UTF-8, a tale
            that is too long, a word that the tokenizer does not have, a missing extra or network,
            and a damaged cache.
    """
    check_sizes(length, documents)
    say: Callable[[str], object] = str if quiet else tqdm.write
    origin = source(name, documents)
    if origin.language and not pack:  # a row a document
        refuse_rows(documents, length)
    request = Request(name, length, tokenizer, vocab_size, pack)
    folder = cache_folder() / "corpora" / request.key(origin)
    if not folder.exists():
        check_place(folder.parent, "set MINILDM_CACHE to a folder that can")
        say(f"preparing the corpus {name} in {folder}")
        build(folder, request, origin, no_progress if quiet else progress)
    card, rows, own = read_cache(folder)
    say(f"corpus {name}: " + "\n    ".join(describe(card, pack)))
    return Corpus(name, tokenizer or load_tokenizer(own), rows["train"], rows["valid"], card)
