"""Scorecards as lines that a person reads: a name, the figure with its unit, and what it says."""

from operator import itemgetter

from ..text.tokenizers import Tokenizer, WordTokenizer

# figure -> name, format with the unit, meaning; {token} is a word where the vocabulary has words
FIGURES = {
    "grammatical": ("grammatical tales", "{:.1%}", "follow the grammar of Tales"),
    "consistent": ("consistent tales", "{:.1%}", "are grammatical and true to themselves"),
    "exact_nats_per_token": (
        "surprise of consistent tales",
        "{:.3f} nats",
        "a word, by the exact distribution",
    ),
    "unigram_entropy": (
        "entropy of {token}s",
        "{:.2f} nats",
        "of the {token}s, whatever their order",
    ),
    "distinct_2": ("different pairs", "{:.1%}", "of all pairs of neighboring {token}s"),
    "distinct_4": ("different runs of 4", "{:.1%}", "of all runs of 4 {token}s"),
    "self_repetition": ("repetition", "{:.1%}", "of runs of 4 stood in the text before"),
    "copied_4": ("copies", "{:.1%}", "of runs of 4 stand in training texts"),
    "nfe": ("network evaluations", "{:.0f}", "a text"),
    "latency_s": ("time", "{:.3f} s", "to draw one text alone"),
    "tokens_per_s": ("speed", "{:.0f} {token}s/s", "in batches of up to 128 texts"),
    "nats_per_token": ("loss", "{:.4f} nats", "a {token} of held-out texts"),
    "nats_standard_error": (
        "standard error of the loss",
        "{:.4f} nats",
        "a {token}; the loss is a random bound",
    ),
    "perplexity": ("perplexity", "{:.3f}", "e to the loss"),
    "nats_per_tale": ("loss of a tale", "{:.2f} nats", "mean over test tales"),
    "exact_nats_per_tale": (
        "exact entropy of a tale",
        "{:.2f} nats",
        "no model can have a smaller loss",
    ),
    "excess": ("excess over the entropy", "{:.2%}", "(loss - entropy) / entropy, of a tale"),
    "token_accuracy": ("{token}s rebuilt", "{:.3%}", "of held-out texts, by encoder and decoder"),
    "row_accuracy": ("tokens rebuilt", "{:.3%}", "padding counted too"),
    "whole_texts": ("texts rebuilt", "{:.1%}", "without a fault"),
    "tokens": ("loss of the tokens", "{:.4f} nats", "a {token}, at noise levels below 1"),
    "denoised": ("prediction error", "{:.4f}", "a channel; latents have variance 1"),
    "error": ("prediction error", "{:.4f}", "a channel; latents have variance 1"),
}
LINE = "  {:<28}{:>25}  {}"  # at most 100 columns


def lines(
    figures: dict[str, float], tokenizer: Tokenizer, spread: dict[str, float] | None = None
) -> list[str]:
    """Figures as lines, in the order of FIGURES and without those that are not in it.

    Args:
        figures: By name, means over seeds or of held-out texts.
        tokenizer: Whose entries are words or not.
        spread: Over seeds, if there is one.

    Returns:
        Lines of at most 100 columns.
    """
    token = "word" if isinstance(tokenizer, WordTokenizer) else "token"
    found = []
    for figure, entry in FIGURES.items():
        if figure in figures:
            name, form, meaning = (text.replace("{token}", token) for text in entry)
            number, _, unit = form.partition(" ")
            around = (spread or {}).get(figure)
            shown = number.format(figures[figure])
            shown += f" ± {number.format(around)}" if around else ""
            shown += f" {unit}" if unit else ""
            found.append(LINE.format(name, shown, meaning))
    return found


def errors(figures: dict[str, float]) -> list[str]:
    """The errors in tales as lines, the most frequent first.

    Args:
        figures: With fractions "error_TYPE".

    Returns:
        Lines.
    """
    found = [
        (fraction, name.removeprefix("error_"))
        for name, fraction in figures.items()
        if name.startswith("error_") and fraction
    ]
    return [
        LINE.format(f"wrong: {name}", f"{fraction:.1%}", "of tales")
        for fraction, name in sorted(found, key=itemgetter(0), reverse=True)
    ]
