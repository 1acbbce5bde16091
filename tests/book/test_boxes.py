"""Every boxed equation is executed: it has a number, and a test that names the number evaluates both sides."""

import re

from .notebooks import CHAPTERS, EQUATION, ROOT, TAG, load, prose


def test_every_box_has_a_number_and_a_test():
    tests = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    named = set(re.findall(r"\((\d\d\.\d+)\)", tests))
    for path in CHAPTERS:
        boxed = [equation for equation in EQUATION.findall(prose(load(path))) if r"\boxed" in equation]
        assert boxed, f"{path.name} boxes no equation"
        for equation in boxed:
            (tag,) = TAG.findall(equation)
            assert tag in named, f"no test names the boxed equation ({tag})"
