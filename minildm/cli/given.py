"""What is given to a sampler on the command line: beginnings, gaps, texts to repair, guidance."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ..api.limits import check_count, check_sizes
from ..errors import UserError
from ..evaluation.editing import HIGH_NLL
from ..models.base import LanguageModel
from ..models.generation import GenerationConfig, GuidanceTarget
from ..models.guidance import contains
from ..pretrained import Loaded
from ..text.batches import tensor
from ..text.corpora import pad_rows
from ..text.nearest import legal
from ..text.sources import paragraphs, read_text
from ..text.tokenizers import Tokenizer
from ..tokens import BOS, EOS, MASK, PAD

GAP = re.compile(r"\s*_{2,}(?:\{(\d{1,9})\})?")  # ____ or ____{5}
FULL = 0.75  # fraction of the length that a text is given, where nobody says how long its gaps are


@dataclass(frozen=True, kw_only=True)
class GivenFlags:
    """What texts hold already, and what they are guided by."""

    prompt: str | None = None  # how the texts begin
    infill: str | None = None  # a text with gaps, ____ or ____{5} for one of 5 tokens
    gap: int | None = None  # tokens of each ____; by default all fill 3/4 of the length
    repair: Path | None = (
        None  # file of texts (UTF-8, one a paragraph): unlikely tokens are redrawn
    )
    start: float | None = None  # of a repair: redraw all from this fraction of the steps
    guide: str | None = None  # a token that should stand in the text; LDLM and Manta-LM
    guidance_scale: float | None = None  # of --guide, by default 1, Bayes' rule
    num_tries: int | None = None  # how often a text of --guide is drawn until it has the token


@dataclass
class Given:
    """What a sampler is called with, and the configuration that goes with it."""

    config: GenerationConfig
    tokens: dict[str, Tensor] = field(default_factory=dict)  # "prompt" and "observed"


def given(
    loaded: Loaded, flags: GivenFlags, config: GenerationConfig, count: int, seed: int
) -> Given:
    """The prompt, the observed tokens and the guidance that flags ask for.

    A repair has `count` rows for each paragraph of its file: all is drawn anew from a start, or
    without one the tokens with a high negative log-likelihood, which is measured with this seed.
    """
    model = loaded.model
    length = config.length or model.config.seq_len
    check_flags(flags)
    check_model(loaded, flags)
    check_sizes(model, config)
    check_count(max(count, 1), length, model.config.vocab_size)
    made = Given(config)
    if flags.infill is not None:
        prompt, observed = with_gaps(flags.infill, flags.gap, length, loaded.tokenizer)
        made.tokens = {"prompt": prompt, "observed": observed}
    elif flags.repair is not None:
        rows = read_rows(flags.repair, length, loaded.tokenizer)
        made.tokens = {"prompt": rows.repeat_interleave(count, 0)}
        if flags.start is None:
            likely = model.token_nll(rows, torch.Generator().manual_seed(seed)) <= HIGH_NLL
            made.tokens["observed"] = likely.repeat_interleave(count, 0)
        else:
            made.config = replace(made.config, start=flags.start)
    elif flags.prompt or not model.capabilities.latent:
        tokens = loaded.tokenizer.encode(legal(flags.prompt or "", loaded.tokenizer))
        made.tokens = {"prompt": torch.tensor([[BOS, *tokens]])}
    if flags.guide is not None:
        made.config = replace(
            made.config,
            guidance_target=target(flags.guide, loaded.tokenizer),
            guidance_scale=1.0 if flags.guidance_scale is None else flags.guidance_scale,
            num_tries=1 if flags.num_tries is None else flags.num_tries,
        )
    return made


def check_flags(flags: GivenFlags) -> None:
    """Refuse flags that say nothing without another, and flags that exclude each other."""
    needed = [  # (flag, what it says, the flag it needs, what that takes)
        ("gap", "how long the gaps are", "infill", "a text"),
        ("start", "how much of a text is kept", "repair", "a file"),
        ("guidance_scale", "how strong guidance is", "guide", "a token"),
        ("num_tries", "how often a token is tried for", "guide", "a token"),
    ]
    for name, says, other, takes in needed:
        if getattr(flags, name) is not None and getattr(flags, other) is None:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} says {says}: give --{other} {takes}, or leave out --{flag}")
    if flags.infill is not None and flags.repair is not None:
        raise UserError("--infill and --repair each give the text: choose one of them")
    if flags.prompt is not None and (flags.infill, flags.repair) != (None, None):
        raise UserError("--infill and --repair give the whole text: leave out --prompt")
    if flags.num_tries is not None and flags.repair is not None:
        raise UserError(
            "--repair draws each of its texts once: leave out --num-tries, or ask for more "
            "versions with --count"
        )
    if flags.start is not None and not 0 < flags.start < 1:
        raise UserError(
            f"--start {flags.start} leaves nothing to repair or nothing of the text: give a "
            "fraction between 0 and 1"
        )


def check_model(loaded: Loaded, flags: GivenFlags) -> None:
    """Refuse flags that the model cannot follow."""
    model: LanguageModel = loaded.model
    options = model.capabilities.options
    if (flags.infill, flags.repair) != (None, None) and "observed" not in options:
        raise UserError(
            f"{model.title} writes from left to right, around no given tokens: leave out --infill "
            "and --repair, or name a masked model, an LDLM or a Manta-LM"
        )
    for name, option in (("guide", "guidance_target"), ("start", "start")):
        if getattr(flags, name) is not None and option not in options:
            raise UserError(
                f"{model.title} has no latents to steer: leave out --{name}, or name an LDLM or a "
                "Manta-LM"
            )
    if loaded.missing and any((flags.prompt, flags.infill, flags.repair)):
        raise UserError(
            f"{model.title} reads the tokens it is given with its frozen encoder, which is "
            f"missing: {loaded.missing}"
        )


def read_rows(path: Path, length: int, tokenizer: Tokenizer) -> Tensor:
    """The paragraphs of a file as rows of tokens."""
    paragraphs_of_file = paragraphs(read_text(path, "file"))
    texts = [tokenizer.encode(legal(text, tokenizer)) for text in paragraphs_of_file]
    if not texts:
        raise UserError(f"the file {path} has no text to repair: give one with a text a paragraph")
    longest = max(map(len, texts)) + 2
    if longest > length:
        raise UserError(
            f"a text of {path} has {longest} tokens, more than the {length} that fit: shorten it "
            "or raise --length"
        )
    return tensor(pad_rows(texts, length, tokenizer))


def with_gaps(
    text: str, gap: int | None, length: int, tokenizer: Tokenizer
) -> tuple[Tensor, Tensor]:
    """A text with gaps as one row of tokens, and where they are given.

    A gap is two or more underscores and, in braces, its tokens: ____{5}. Without braces it has
    `gap` tokens, or the gaps share what is left of three quarters of the length.
    """
    first, *rest = GAP.split(text)
    if not rest:
        raise UserError(
            "--infill has no gap: mark each by two underscores or more, like "
            "'once at the ____ there ____{8} .'"
        )
    pieces = [tokenizer.encode(legal(part, tokenizer)) for part in (first, *rest[1::2])]
    sizes = gap_sizes(rest[::2], gap, int(FULL * length) - 2 - sum(map(len, pieces)))
    total = 2 + sum(sizes) + sum(map(len, pieces))
    if total > length:
        raise UserError(
            f"the text has {total} tokens with its gaps, more than the {length} that fit: shorten "
            "it, give a smaller --gap, or raise --length"
        )
    row = [BOS, *pieces[0]]
    for size, piece in zip(sizes, pieces[1:]):
        row += [MASK] * size + piece
    tokens = torch.tensor([[*row, EOS] + [PAD] * (length - total)])
    return tokens, tokens != MASK


def gap_sizes(written: list[str | None], gap: int | None, room: int) -> list[int]:
    """Tokens of each gap: its own number, else `gap`, else an equal part of the room left."""
    sizes = [gap if size is None else int(size) for size in written]
    chosen = [size for size in sizes if size is not None]
    if any(size < 1 for size in chosen):
        raise UserError(f"a gap of {min(chosen)} tokens is none: give 1 or more")
    open_gaps = sizes.count(None)
    room -= sum(chosen)
    parts = iter([max(room // open_gaps + (i < room % open_gaps), 1) for i in range(open_gaps)])
    return [next(parts) if size is None else size for size in sizes]


def target(word: str, tokenizer: Tokenizer) -> GuidanceTarget:
    """The target that a word stands in the text; it must be one token, with or without a space."""
    word = legal(word, tokenizer)
    ids = min((tokenizer.encode(text) for text in (f" {word}", word)), key=len)
    if len(ids) != 1:
        raise UserError(
            f"--guide takes one token, and {word!r} is {len(ids)}: name a word that the vocabulary "
            "has as a whole"
        )
    return contains(ids[0])
