"""Corpora: documents encoded once into memory-mapped rows of tokens, kept in a cache keyed by
content.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import UserError, check_place, expand, reason
from ..tokens import BOS, EOS, PAD
from .sources import Bar, Source, sha256, source
from .tokenizers import BytePairTokenizer, Tokenizer, WordTokenizer, digest, load_tokenizer

LONGEST = 16_384  # tokens of a row
MOST_DOCUMENTS = 10_000_000
LARGEST = 2**31  # tokens of a part of a corpus
PIECE = re.compile(
    r"(?s).{1,8192}(?:(?<=\S)(?= \S)|\Z)|.{1,8192}"
)  # of a document, cut where a token of byte pairs begins


@dataclass(frozen=True)
class Corpus:
    """A named corpus as tokens, ready for batches."""

    name: str  # as it was asked for: "tales", "file:PATH", ...
    tokenizer: Tokenizer  # between its text and its ids
    train: (
        np.ndarray
    )  # (rows, length) memory map of uint16 or uint32; a row is <bos> w_1 .. w_n <eos> <pad> ..
    valid: np.ndarray  # the same, disjoint from train
    card: dict  # what it is and how it was made, ready for JSON


def cache_folder() -> Path:
    """The folder of all caches: MINILDM_CACHE, or .cache/minildm at home where that is empty or not
    set.

    Returns:
        Its path.

    Raises:
        UserError: When its home does not exist.
    """
    return expand(
        os.environ.get("MINILDM_CACHE") or "~/.cache/minildm", "set MINILDM_CACHE to a whole path"
    )


def silent(things: Iterable, what: str, count: int) -> Iterable:
    """No progress bar."""
    return things


def progress(things: Iterable, what: str, count: int) -> Iterable:
    """A progress bar of what takes longer than a moment; it goes when it is done."""
    return tqdm(things, what, count, leave=False, mininterval=0.5, delay=0.5, dynamic_ncols=True)


def refuse_rows(count: int, length: int) -> None:
    """Refuse more rows than are held at a time."""
    if count * length > LARGEST:
        raise UserError(
            f"{count:,} rows of {length:,} tokens are too many to hold: lower --length or --documents"
        )


def pad_rows(documents: list[list[int]], length: int, tokenizer: Tokenizer) -> np.ndarray:
    """One row a document, <bos> w_1 .. w_n <eos> <pad> ...

    Args:
        documents: ids without specials.
        length: Of a row in tokens.
        tokenizer: Which spells a document that is too long.

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
                f"the document that begins {tokenizer.decode(ids[:20])!r} has {len(ids)} tokens, more than "
                f"the {length - 2} that fit: raise --length to at least {longest} or pass --pack"
            )
        row[: len(ids) + 2] = [BOS, *ids, EOS]
    return rows


def pack_rows(documents: list[list[int]], length: int) -> np.ndarray:
    """All documents as one stream w_1 .. w_n <eos> w_1 .., cut into rows after <bos>, int64 (rows,
    length).
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


def type_of(size: int) -> type:
    """The smallest type that holds the ids of a vocabulary."""
    return np.uint16 if size <= 2**16 else np.uint32


def encode(documents: list[str], tokenizer: Tokenizer, what: str, bar: Bar) -> list[np.ndarray]:
    """The ids of each document; what is long is encoded piece by piece."""
    cut = [PIECE.findall(document) for document in documents]
    pieces = bar([piece for each in cut for piece in each], what, sum(map(len, cut)))
    ids = (np.array(tokenizer.encode(piece), type_of(tokenizer.size)) for piece in pieces)
    return [np.concatenate([next(ids) for _ in each]) for each in cut]


def lay_out(
    encoded: dict[str, list[np.ndarray]],
    origin: Source,
    length: int,
    tokenizer: Tokenizer,
    pack: bool,
) -> tuple[bool, dict[str, np.ndarray]]:
    """Whether documents were packed, and the rows of each part: prose that is too long for a row
    each is packed unasked.
    """
    longest = max(len(ids) for documents in encoded.values() for ids in documents)
    pack = pack or (longest > length - 2 and not origin.words)
    return pack, {
        part: (pack_rows(ids, length) if pack else pad_rows(ids, length, tokenizer)).astype(
            type_of(tokenizer.size)
        )
        for part, ids in encoded.items()
    }


def read_parts(origin: Source, name: str, bar: Bar) -> tuple[dict[str, list[str]], int]:
    """The documents of both parts, and how many were left out of the second because the first has
    them too.
    """
    train, valid = origin.read(bar)
    found, known = len(train) + len(valid), set(train)
    fresh = [document for document in valid if document not in known]
    if found == 0:
        raise UserError(f"the corpus {name} is empty: give one with text in it")
    if valid and not fresh:
        raise UserError(
            f"all {len(valid)} documents of {name} kept for validation are also in its training part: "
            "give a text that repeats itself less"
        )
    if not (train and fresh):
        raise UserError(
            f"the corpus {name} has {found} document(s), too few to train and validate: give more text"
        )
    return {"train": train, "valid": fresh}, len(valid) - len(fresh)


def build(
    folder: Path,
    name: str,
    origin: Source,
    length: int,
    tokenizer: Tokenizer | None,
    vocabulary: int,
    pack: bool,
    bar: Bar = silent,
) -> None:
    """Read, encode and lay out a corpus, and write it into a folder that appears whole or not at
    all.
    """
    if origin.words and tokenizer is None:
        tokenizer = WordTokenizer(origin.words)
    if origin.words and not pack:
        pad_rows([tokenizer.encode(origin.example)], length, tokenizer)
    parts, duplicates = read_parts(origin, name, bar)
    if tokenizer is None:
        pieces = [piece for document in parts["train"] for piece in PIECE.findall(document)]
        tokenizer = BytePairTokenizer.train(
            bar(pieces, "learning a tokenizer", len(pieces)), vocabulary
        )
    encoded = {
        part: encode(documents, tokenizer, f"encoding, {part}", bar)
        for part, documents in parts.items()
    }
    packed, rows = lay_out(encoded, origin, length, tokenizer, pack)
    card = {
        "name": name,
        "length": length,
        "pack": packed,
        "documents": {part: len(documents) for part, documents in parts.items()},
        "rows": {part: len(array) for part, array in rows.items()},
        "tokens": {part: int((array != PAD).sum()) for part, array in rows.items()},
        "sha256": {part: sha256(array.tobytes()) for part, array in rows.items()},
        "vocabulary": tokenizer.size,
        "tokenizer": digest(tokenizer.card()),
    } | ({"duplicates": duplicates} if duplicates else {})
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
        if not (
            folder / "card.json"
        ).exists():  # else another process was first, with the same content
            raise UserError(
                f"the cache {folder.parent} cannot be written ({reason(fault)}): "
                "set MINILDM_CACHE to a folder that can"
            ) from None


def read_cache(folder: Path) -> tuple[dict, dict[str, np.ndarray], dict]:
    """The card of a corpus, the rows of its parts, and the card of its tokenizer, all as they were
    written.
    """
    fault = "its contents are not those that its card tells of"
    try:
        card, tokenizer = (
            json.loads((folder / f"{name}.json").read_text()) for name in ("card", "tokenizer")
        )
        rows = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("train", "valid")}
        same = (
            bool(describe(card))
            and digest(tokenizer) == card["tokenizer"]
            and all(
                array.shape == (card["rows"][part], card["length"])
                and array.dtype == type_of(card["vocabulary"])
                and sha256(array.data) == card["sha256"][part]
                for part, array in rows.items()
            )
        )
    except Exception as error:  # damaged bytes make readers raise anything
        same, fault = False, reason(error)
    if not same:
        raise UserError(
            f"the cached corpus {folder} is damaged ({fault}): delete this folder, then repeat the command"
        )
    return card, rows, tokenizer


def describe(card: dict, pack: bool = False) -> list[str]:
    """Lines about a corpus: how large it is, and what was done to it without being asked for.

    Args:
        card: Of a `Corpus`.
        pack: Whether packing was asked for.

    Returns:
        The lines.
    """
    counts = {key: card[key]["train"] for key in ("documents", "tokens", "rows")}
    lines = [
        "{documents:,} document(s), {tokens:,} tokens in {rows:,} rows of ".format(**counts)
        + f"{card['length']}; {card['rows']['valid']:,} more rows to validate"
    ]
    if card["pack"] and not pack:
        lines.append(
            f"packed: some have more than {card['length'] - 2} tokens, which do not fit, so all are joined and cut"
        )
    if "duplicates" in card:
        lines.append(
            f"{card['duplicates']:,} document(s) to validate are also among those to train on, and were left out"
        )
    return lines


def load_corpus(
    name: str,
    length: int,
    *,
    tokenizer: Tokenizer | None = None,
    vocabulary: int = 512,
    pack: bool = False,
    documents: int = 100_000,
    quiet: bool = True,
) -> Corpus:
    """Load a corpus by name, from the cache when the same content was encoded before.

    Args:
        name: One of `sources.NAMES`.
        length: Of a row in tokens.
        tokenizer: By default words for Tales and byte pairs of `vocabulary` entries trained on the
            training part for real text.
        pack: : join documents with <eos> and cut full rows, where otherwise each document is a row
            if all fit.
        documents: : how many of a source that has no end.
        quiet: : say nothing of what is done and show no bars.

    Returns:
        A `Corpus` of memory maps.

    Raises:
        UserError: On an unknown name, a missing or empty source, text that is not UTF-8, a tale
            that is too long, a word that the tokenizer does not have, a missing extra or network,
            and a damaged cache.
    """
    if not 3 <= length <= LONGEST:
        raise UserError(
            f"a row of {length} tokens holds no text: give a --length of at least 3"
            if length < 3
            else f"a row of {length} tokens is too long to train on: give a --length of at most {LONGEST}"
        )
    if not 1 <= documents <= MOST_DOCUMENTS:
        raise UserError(
            f"{documents} documents are no corpus: give --documents of at least 1"
            if documents < 1
            else f"{documents} documents are too many: give --documents of at most {MOST_DOCUMENTS}"
        )
    say = (lambda line: None) if quiet else tqdm.write
    origin = source(name, documents)
    if origin.words and not pack:  # a row a document
        refuse_rows(documents, length)
    made_by = tokenizer.card() if tokenizer else vocabulary
    key = digest(
        {
            "content": origin.fingerprint,
            "name": name,
            "tokenizer": made_by,
            "length": length,
            "pack": pack,
        }
    )
    folder = cache_folder() / "corpora" / key
    if not folder.exists():
        check_place(folder.parent, "set MINILDM_CACHE to a folder that can")
        say(f"preparing the corpus {name} in {folder}")
        build(
            folder, name, origin, length, tokenizer, vocabulary, pack, silent if quiet else progress
        )
    card, rows, own = read_cache(folder)
    say(f"corpus {name}: " + "\n    ".join(describe(card, pack)))
    return Corpus(name, tokenizer or load_tokenizer(own), rows["train"], rows["valid"], card)
