"""What steers a text beyond its beginning: gaps to be filled, texts to be repaired, and a word that
should be said.
"""

import math
import re
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from ..evaluation.editing import DOUBTFUL, doubts
from ..models.base import BOS, EOS, MASK, PAD, check_request
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.masked import Masked
from ..models.steering import Wish, says
from ..text.batches import tensor
from ..text.corpora import pad_rows
from ..text.nearest import legal
from ..text.sources import paragraphs, read_text
from ..text.tokenizers import Tokenizer
from ..training.zoo import Loaded
from .writing import check_count, check_sizes

GAP = re.compile(r"\s*_{2,}(?:\{(\d{1,9})\})?")  # ____ or ____{5}
FULL = 0.75  # share of the length that a text is given, where nobody says how long its gaps are


def steered(
    loaded: Loaded,
    count: int,
    *,
    length: int | None = None,
    infill: str | None = None,
    gap: int | None = None,
    repair: Path | None = None,
    back: float | None = None,
    guide: str | None = None,
    strength: float | None = None,
    tries: int | None = None,
    prompt: str | None = None,
    seed: int = 0,
) -> dict:
    """What `generate` must be told for texts with gaps, texts to repair, or a wish; refuses what a
    kind cannot do.

    The prompt of a repair has `count` rows for each paragraph of the file: all is written anew from
    a share `back` of its way, or without it the words that the model doubts, which it is asked
    about with noise of the `seed`.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    if isinstance(model, GPT) and (infill, repair, guide) != (None, None, None):
        raise UserError(
            "a GPT writes from left to right and cannot be steered: leave out --infill, --repair and --guide, "
            "or name a masked model, an LDLM or a Manta-LM"
        )
    if isinstance(model, Masked) and (back, guide) != (None, None):
        raise UserError(
            "a masked model has no latents to steer: leave out --back and --guide, or name an LDLM or a Manta-LM"
        )
    if infill is not None and repair is not None:
        raise UserError("--infill and --repair each give the text: choose one of them")
    if infill is None and gap is not None:
        raise UserError(
            "--gap says how long the gaps of --infill are: give --infill a text, or leave out --gap"
        )
    if repair is None and back is not None:
        raise UserError(
            "--back says how much of a text --repair keeps: give --repair a file, or leave out --back"
        )
    if strength is not None and guide is None:
        raise UserError(
            "--strength is that of a wish: give --guide a word, or leave out --strength"
        )
    if strength is not None and not 0 <= strength < math.inf:
        raise UserError(f"a strength of {strength} has no meaning: give 0 or more")
    if tries is not None and guide is None:
        raise UserError("--tries are those of a wish: give --guide a word, or leave out --tries")
    if tries is not None and tries < 1:
        raise UserError(f"{tries} tries write nothing: give --tries 1 or more")
    if tries is not None and repair is not None:
        raise UserError(
            "--repair writes each of its texts once: leave out --tries, or ask for more versions with --count"
        )
    if isinstance(model, LDLM) and loaded.missing and (prompt or infill or repair):
        raise UserError(
            f"an LDLM reads the words it is given with its frozen encoder, which is missing: {loaded.missing}"
        )
    length, asked = length or model.config.length, {}
    check_request(count, length, None)
    check_sizes(model, None, length)
    check_count(count, length, tokenizer.size)
    if strength is not None:
        asked["strength"] = strength
    if infill is not None:
        asked["prompt"], asked["mask"] = with_gaps(infill, gap, length, tokenizer)
    if repair is not None:
        if back is not None and not 0 < back < 1:
            raise UserError(
                f"--back {back} leaves nothing to repair or nothing of the text: give a share between 0 and 1"
            )
        texts = [
            tokenizer.encode(legal(text, tokenizer))
            for text in paragraphs(read_text(repair, "file"))
        ]
        if not texts:
            raise UserError(
                f"the file {repair} has no text to repair: give one with a text a paragraph"
            )
        longest = max(map(len, texts)) + 2
        if longest > length:
            raise UserError(
                f"a text of {repair} has {longest} tokens, more than the {length} that fit: shorten it or raise "
                "--length"
            )
        rows = tensor(pad_rows(texts, length, tokenizer))
        doubtful = (
            doubts(model, rows, torch.Generator().manual_seed(seed)) > DOUBTFUL
            if back is None
            else None
        )
        asked |= {"prompt": rows.repeat_interleave(count, 0)}
        asked |= {"mask": doubtful.repeat_interleave(count, 0)} if back is None else {"start": back}
    if guide is not None:
        asked["wish"] = wish(guide, tokenizer)
    return asked


def with_gaps(
    text: str, gap: int | None, length: int, tokenizer: Tokenizer
) -> tuple[Tensor, Tensor]:
    """A text with gaps as one row of tokens and a mask that is true in the gaps.

    A gap is two or more underscores and, in braces, its tokens: ____{5}. Without braces it has
    `gap` tokens, or the gaps share what is left of three quarters of the length.
    """
    first, *rest = GAP.split(text)
    if not rest:
        raise UserError(
            "--infill has no gap: mark each by two underscores or more, like 'once at the ____ there ____{8} .'"
        )
    pieces = [tokenizer.encode(legal(part, tokenizer)) for part in (first, *rest[1::2])]
    sizes = gap_sizes(rest[::2], gap, int(FULL * length) - 2 - sum(map(len, pieces)))
    total = 2 + sum(sizes) + sum(map(len, pieces))
    if total > length:
        raise UserError(
            f"the text has {total} tokens with its gaps, more than the {length} that fit: shorten it, give a "
            "smaller --gap, or raise --length"
        )
    row = [BOS, *pieces[0]]
    for size, piece in zip(sizes, pieces[1:]):
        row += [MASK] * size + piece
    row = torch.tensor([[*row, EOS] + [PAD] * (length - total)])
    return row, row == MASK


def gap_sizes(written: list[str | None], gap: int | None, room: int) -> list[int]:
    """Tokens of each gap: the number written with it, else `gap`, else an equal share of the room
    that the others leave.
    """
    given = [gap if size is None else int(size) for size in written]
    if any(size is not None and size < 1 for size in given):
        raise UserError(
            f"a gap of {min(size for size in given if size is not None)} tokens is none: give 1 or more"
        )
    open_gaps = given.count(None)
    room -= sum(size for size in given if size is not None)
    shares = iter([max(room // open_gaps + (i < room % open_gaps), 1) for i in range(open_gaps)])
    return [next(shares) if size is None else size for size in given]


def wish(word: str, tokenizer: Tokenizer) -> Wish:
    """The wish that a word be said; it must be one token, after a space or without one."""
    word = legal(word, tokenizer)
    ids = min((tokenizer.encode(text) for text in (f" {word}", word)), key=len)
    if len(ids) != 1:
        raise UserError(
            f"--guide takes one token, and {word!r} is {len(ids)}: name a word that the vocabulary has as a whole"
        )
    return says(ids[0])
