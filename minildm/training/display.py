"""What a training shows while it runs: figures with names that a person reads, and a text of the
model.
"""

import shutil
import textwrap


def plain(text: str) -> str:
    """A text on one line, with a question mark for what is no letter, mark or space.

    Args:
        text: The text.

    Returns:
        it.
    """
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def report(step: int, figures: dict) -> str:
    """Figures of a step, and below them its text, in lines that fit the terminal.

    Args: `step`; `figures` by name, "text" among them. Returns lines. Derived in chapter 16. Source: ours.
    """
    wide = max(shutil.get_terminal_size().columns - 1, 40)
    numbers = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in figures.items()
        if name not in ("text", "score")
    )
    text = textwrap.fill(
        plain(figures.get("text", "")), wide, initial_indent="    ", subsequent_indent="    "
    )
    return (
        textwrap.fill(
            f"step {step}" + f": {numbers}" * bool(numbers), wide, subsequent_indent="    "
        )
        + f"\n{text}"
    )
