"""Text of widgets can be read in any theme: it brings its own paper, and stands out from it."""

import re

import pytest

from minildm.viz.chapters import ch09, ch12
from minildm.viz.core import style
from minildm.viz.trajectory import excerpts, page

LEAST = 4.5  # contrast of text that WCAG 2.1 asks for
STYLES = {
    "scene": page.STYLE,
    "excerpts": excerpts.STYLE,
    "planting": ch09.CSS,
    "switchboard": ch12.CSS,
}


def luminance(color: str) -> float:
    """Relative luminance of #rgb or #rrggbb, as WCAG defines it."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def over_white(red: int, green: int, blue: int, alpha: float) -> str:
    return "#" + "".join(f"{round(255 + alpha * (part - 255)):02x}" for part in (red, green, blue))


def test_contrast_is_that_of_the_standard():
    assert contrast("#000", "#ffffff") == pytest.approx(21) and contrast(
        "#777", "#fff"
    ) == pytest.approx(4.48, abs=0.01)
    assert (
        contrast(style.INK, "#111111") < 1.2
    )  # what a widget without paper of its own would show in the dark theme


@pytest.mark.parametrize("name", STYLES)
def test_text_that_has_a_color_has_its_paper(name):
    """A rule that sets a color of text also sets what is behind it."""
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", STYLES[name])
    colored = [body for _, body in rules if re.search(r"(?:^|;)color:", body)]
    assert colored
    for body in colored:
        ink, paper = (re.search(rf"(?:^|;){key}:(#\w+)", body) for key in ("color", "background"))
        assert ink and paper and contrast(ink[1], paper[1]) >= LEAST, body


def test_shaded_words_can_be_read():
    shades = re.findall(r"background:rgba\((\d+),(\d+),(\d+),([\d.]+)\)", excerpts.STYLE)
    assert len(shades) == excerpts.LEVELS
    for *color, alpha in shades:
        assert contrast(style.INK, over_white(*map(int, color), float(alpha))) >= LEAST


def test_no_text_of_a_page_has_a_pale_color():
    """Colors of ideas are for lines and dots; what is read is ink."""
    recipe = {
        "decoder_loss": "mse",
        "warmup": 0,
        "adaptive_time": True,
        "decoder_noise": 0.5,
        "latent_norm": "rms",
        "encoder_gradient_scale": 1.0,
    }
    run = {
        "variant": "full",
        "seed": 0,
        **dict.fromkeys(ch12.FIGURES, 0.5),
        "curve": {"step": [0, 50], "tokens": [5.0, 2.0], "diffusion": [1.0, 0.5]},
    }
    board = ch12.RecipeSwitchboard({"rows": [run], "recipes": {"full": recipe}})
    texts = re.findall(r'<text[^>]* fill="(#\w+)"', board.page("full", 0))
    assert len(texts) == 2 and all(contrast(color, style.PAPER) >= LEAST for color in texts)
    assert not re.search(r'style="[^"]*(?<![-\w])color:', board.page("full", 0))
