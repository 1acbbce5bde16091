"""The cache of corpora: a folder each, written whole or not at all, and checked when it is read."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from ..errors import UserError, expand, reason
from .sources import sha256
from .tokenizers import digest

Rows = dict[str, np.ndarray]  # part -> (rows, length)


def cache_folder() -> Path:
    """The folder of all caches: MINILDM_CACHE, or .cache/minildm at home where that is not set.

    Returns:
        Its path.

    Raises:
        UserError: When its home does not exist.
    """
    place = os.environ.get("MINILDM_CACHE") or "~/.cache/minildm"
    return expand(place, "set MINILDM_CACHE to a whole path")


def id_type(vocab_size: int) -> type[np.unsignedinteger]:
    """The smallest type that holds the ids of a vocabulary."""
    return np.uint16 if vocab_size <= 2**16 else np.uint32


def write_cache(folder: Path, card: dict, tokenizer: dict, rows: Rows) -> None:
    """Write a corpus beside its place in the cache, and rename it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, suffix=".tmp") as beside:
            whole = Path(beside) / "corpus"
            whole.mkdir()
            for part, array in rows.items():
                np.save(whole / f"{part}.npy", array)
            (whole / "tokenizer.json").write_text(json.dumps(tokenizer))
            (whole / "card.json").write_text(json.dumps(card, indent=1))
            os.rename(whole, folder)
    except OSError as fault:
        if (folder / "card.json").exists():  # another process was first, with the same content
            return
        raise UserError(
            f"the cache {folder.parent} cannot be written ({reason(fault)}): "
            "set MINILDM_CACHE to a folder that can"
        ) from None


def read_cache(folder: Path) -> tuple[dict, Rows, dict]:
    """The card of a corpus, the rows of its parts, and the card of its tokenizer, as written."""
    fault = "its contents are not those that its card tells of"
    try:
        card = json.loads((folder / "card.json").read_text())
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        rows = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("train", "valid")}
        describe(card)
        same = digest(tokenizer) == card["tokenizer"] and all(
            array.shape == (card["rows"][part], card["length"])
            and array.dtype == id_type(card["vocabulary"])
            and sha256(array.data) == card["sha256"][part]
            for part, array in rows.items()
        )
        if same:
            return card, rows, tokenizer
    except Exception as error:  # damaged bytes make readers raise anything
        fault = reason(error)
    raise UserError(
        f"the cached corpus {folder} is damaged ({fault}): "
        "delete this folder, then repeat the command"
    )


def describe(card: dict, pack: bool = False) -> list[str]:
    """Lines about a corpus: how large it is, and what was done to it without being asked for.

    Args:
        card: Of a `Corpus`.
        pack: Whether packing was asked for.

    Returns:
        The lines.
    """
    documents, tokens, rows = (card[key]["train"] for key in ("documents", "tokens", "rows"))
    lines = [
        f"{documents:,} document(s), {tokens:,} tokens in {rows:,} rows of {card['length']}; "
        f"{card['rows']['valid']:,} more rows to validate"
    ]
    if card["pack"] and not pack:
        lines.append(
            f"packed: some have more than {card['length'] - 2} tokens, which do not fit, "
            "so all are joined and cut"
        )
    if "duplicates" in card:
        lines.append(
            f"{card['duplicates']:,} document(s) to validate are also among those to train on, "
            "and were left out"
        )
    return lines
