"""One notation: chapters introduce only symbols that appendix A lists, with its code names, and time runs one way."""

import re

import pytest

from .inline import lifted
from .notebooks import APPENDICES, CHAPTERS, code, load, number, prose

HEADER = re.compile(r"^\| symbol \| code \| meaning .*\|$")
WRONG_WAY = re.compile(
    r"\bt\s*=\s*0(?:\.0)?\$?\**,?\s+(?:is|means|for)\s+(?:the\s+|clean\s+)*data\b|"
    r"\bt\s*=\s*1(?:\.0)?\$?\**,?\s+(?:is|means|for)\s+(?:the\s+|pure\s+)*noise\b"
)


def rows(text: str) -> list[tuple[str, str]]:
    """The (symbols, code names) of all rows in the tables of symbols of a text."""
    found, inside = [], False
    for line in text.splitlines():
        inside = bool(HEADER.match(line)) or (inside and line.startswith("|"))
        if inside and not HEADER.match(line) and not line.startswith("|--"):
            symbols, names = line.replace(r"\|", r"\vert").split("|")[1:3]
            found.append((symbols, names))
    return found


def heads(symbols: str) -> set[str]:
    """Symbols without their arguments, ranges and definitions: "$z_t = a z_1$, $V(z, t)$" -> {"z_t", "V"}."""
    found = set()
    for formula in re.findall(r"\$([^$]+)\$", symbols):
        while (bare := re.sub(r"\([^()]*\)|\[[^][]*\]", "", formula)) != formula:
            formula = bare
        formula = re.sub(r"\\[,;!]|\\(?:mathrm|mathbf|dots|ldots)\b|[{}]", "", formula)
        for part in formula.split(","):
            found.add(
                re.split(r"=|\\in\b|\\to\b|\\sim\b|:|\\approx\b|>|<", part)[0].replace(" ", "")
            )
    return found - {""}


def names(code_names: str) -> set[str]:
    """Code names without their calls and objects: "`recipe.decoder_noise`" -> {"decoder_noise"}."""
    return {
        re.sub(r"\(.*", "", name).split(".")[-1] for name in re.findall(r"`([^`]+)`", code_names)
    }


def listed() -> dict[str, set[str]]:
    """Appendix A: symbol -> its code names."""
    table: dict[str, set[str]] = {}
    (appendix,) = [path for path in APPENDICES if number(path) == "A"]
    for symbols, code_names in rows(prose(load(appendix))):
        for head in heads(symbols):
            table.setdefault(head, set()).update(names(code_names))
    return table


def strip(path) -> str:
    """A chapter's text between `## Notation` and its first movement."""
    return re.search(r"^## Notation$(.*?)^## 1\. ", prose(load(path)), re.MULTILINE | re.DOTALL)[1]


def test_heads_and_names():
    assert heads(r"$z_t = a(t)\, z_1$, $V(z, t)$, $t \in [0, 1]$") == {"z_t", "V", "t"}
    assert heads(r"$p(x(t)), \hat{h}$") == {"p", r"\hath"}
    assert names("`recipe.noise`, `cost(system, run)` (batch,)") == {"noise", "cost"}
    assert rows(
        "| symbol | code | meaning |\n|---|---|---|\n| $u$ | `u` | control |\n\n| a | b |"
    ) == [(" $u$ ", " `u` ")]


@pytest.mark.parametrize("path", CHAPTERS, ids=number)
def test_a_chapter_introduces_what_appendix_a_lists(path):
    table, faults = listed(), []
    assert rows(strip(path))
    for symbols, code_names in rows(strip(path)):
        for head in heads(symbols):
            if head not in table:
                faults.append(f"{head} is not in appendix A")
            elif names(code_names) and table[head] and not names(code_names) & table[head]:
                faults.append(
                    f"{head} is {', '.join(names(code_names))} here, and {', '.join(table[head])} in appendix A"
                )
    assert not faults, "; ".join(faults)


@pytest.mark.parametrize("path", CHAPTERS, ids=number)
def test_every_letter_of_a_formula_is_in_appendix_a(path):
    """Appendix A marks each letter with this chapter or an earlier one, as its own cells find as well."""
    (appendix,) = [path for path in APPENDICES if number(path) == "A"]
    own = lifted(appendix)
    first = own["first_chapters"](prose(load(appendix)))
    assert {"E", "M", "D", "S", "L", "mu"} <= {
        letter for letter, chapter in first.items() if chapter <= "01"
    }
    assert not {
        letter
        for letter in own["letters"](prose(load(path)))
        if first.get(letter, "99") > number(path)
    }


def test_letters_leave_out_words_and_code():
    (appendix,) = [path for path in APPENDICES if number(path) == "A"]
    own = lifted(appendix)
    words = r"In $\log p_t(z) \tag{00.1}$ and $$\mathrm{KL} + \hat\xi$$ the `x` of $N$"
    assert own["letters"](words) == {"p", "t", "z", "xi", "N"}
    table = "| $Q$, $x$ | `x` | a matrix | 03, 05 |\n| $x$ | | a place | 02 |"
    assert own["first_chapters"](table) == {"Q": "03", "x": "02"}


@pytest.mark.parametrize("path", CHAPTERS + APPENDICES, ids=number)
def test_noise_is_at_0_and_data_at_1(path):
    text = prose(load(path)) + "\n".join(cell.source for cell in code(load(path)))
    wrong = [sentence for sentence in re.split(r"(?<=[.:;])\s", text) if WRONG_WAY.search(sentence)]
    assert not [sentence for sentence in wrong if "paper" not in sentence], wrong
