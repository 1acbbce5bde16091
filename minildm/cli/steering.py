"""What steers a text beyond its beginning: gaps to be filled, texts to be repaired, and a word that should be said."""

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

GAP = re.compile(r"\s*_{2,}")
FULL = 0.75  # share of the length that a text is given, where nobody says how long its gaps are


def steered(loaded: Loaded, count: int, *, length: int | None = None, infill: str | None = None, gap: int | None = None,
            repair: Path | None = None, back: float | None = None, guide: str | None = None,
            strength: float | None = None, tries: int | None = None, prompt: str | None = None, seed: int = 0) -> dict:
    """What `generate` must be told for texts with gaps, texts to repair, or a wish; refuses what a kind cannot do.

    The prompt of a repair has `count` rows for each paragraph of the file: all is written anew from a share `back` of its way,
    or without it the words that the model doubts, which it is asked about with noise of the `seed`.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    if isinstance(model, GPT) and (infill, repair, guide) != (None, None, None):
        raise UserError("a GPT writes from left to right and cannot be steered: leave out --infill, --repair and --guide, "
                        "or name a masked model, an LDLM or a Manta-LM")
    if isinstance(model, Masked) and (back, guide) != (None, None):
        raise UserError("a masked model has no latents to steer: leave out --back and --guide, or name an LDLM or a Manta-LM")
    if infill is not None and repair is not None:
        raise UserError("--infill and --repair each give the text: choose one of them")
    if infill is None and gap is not None:
        raise UserError("--gap says how long the gaps of --infill are: give --infill a text, or leave out --gap")
    if repair is None and back is not None:
        raise UserError("--back says how much of a text --repair keeps: give --repair a file, or leave out --back")
    if strength is not None and guide is None:
        raise UserError("--strength is that of a wish: give --guide a word, or leave out --strength")
    if strength is not None and not 0 <= strength < math.inf:
        raise UserError(f"a strength of {strength} has no meaning: give 0 or more")
    if tries is not None and guide is None:
        raise UserError("--tries are those of a wish: give --guide a word, or leave out --tries")
    if tries is not None and tries < 1:
        raise UserError(f"{tries} tries write nothing: give --tries 1 or more")
    if tries is not None and repair is not None:
        raise UserError("--repair writes each of its texts once: leave out --tries, or ask for more versions with --count")
    if isinstance(model, LDLM) and loaded.missing and (prompt or infill or repair):
        raise UserError(f"an LDLM reads the words it is given with its frozen encoder, which is missing: {loaded.missing}")
    length, asked = length or model.config.length, {}
    check_request(count, length, None)
    if strength is not None:
        asked["strength"] = strength
    if infill is not None:
        asked["prompt"], asked["mask"] = with_gaps(infill, gap, length, tokenizer)
    if repair is not None:
        if back is not None and not 0 < back < 1:
            raise UserError(f"--back {back} leaves nothing to repair or nothing of the text: give a share between 0 and 1")
        texts = [tokenizer.encode(legal(text, tokenizer)) for text in paragraphs(read_text(repair, "file"))]
        if not texts:
            raise UserError(f"the file {repair} has no text to repair: give one with a text a paragraph")
        longest = max(map(len, texts)) + 2
        if longest > length:
            raise UserError(f"a text of {repair} has {longest} tokens, more than the {length} that fit: shorten it or raise "
                            "--length")
        rows = tensor(pad_rows(texts, length, tokenizer))
        doubtful = doubts(model, rows, torch.Generator().manual_seed(seed)) > DOUBTFUL if back is None else None
        asked |= {"prompt": rows.repeat_interleave(count, 0)}
        asked |= {"mask": doubtful.repeat_interleave(count, 0)} if back is None else {"start": back}
    if guide is not None:
        asked["wish"] = wish(guide, tokenizer)
    return asked


def with_gaps(text: str, gap: int | None, length: int, tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """A text with gaps, marked by two or more underscores, as one row of tokens and a mask that is true in the gaps."""
    parts = GAP.split(text)
    if len(parts) == 1:
        raise UserError("--infill has no gap: mark each by two underscores or more, like 'once at the ____ there lived ____ .'")
    if gap is not None and gap < 1:
        raise UserError(f"a gap of {gap} tokens is none: give --gap 1 or more")
    pieces = [tokenizer.encode(legal(part, tokenizer)) for part in parts]
    gaps, room = len(pieces) - 1, int(FULL * length) - 2 - sum(map(len, pieces))
    sizes = [gap or max(room // gaps + (i < room % gaps), 1) for i in range(gaps)]
    row, hidden = [BOS, *pieces[0]], [False] * (1 + len(pieces[0]))
    for size, piece in zip(sizes, pieces[1:]):
        row += [MASK] * size + piece
        hidden += [True] * size + [False] * len(piece)
    row, rest = [*row, EOS], length - len(row) - 1
    if rest < 0:
        raise UserError(f"the text has {len(row)} tokens with its gaps, more than the {length} that fit: shorten it, give a "
                        "smaller --gap, or raise --length")
    return torch.tensor([row + [PAD] * rest]), torch.tensor([hidden + [False] * (1 + rest)])


def wish(word: str, tokenizer: Tokenizer) -> Wish:
    """The wish that a word be said; it must be one token, after a space or without one."""
    word = legal(word, tokenizer)
    ids = min((tokenizer.encode(text) for text in (f" {word}", word)), key=len)
    if len(ids) != 1:
        raise UserError(f"--guide takes one token, and {word!r} is {len(ids)}: name a word that the vocabulary has as a whole")
    return says(ids[0])
