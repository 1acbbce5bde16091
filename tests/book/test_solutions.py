"""Every solution passes its check, and the empty hole does not."""

import re

import matplotlib
import pytest
import torch

from .notebooks import CHAPTERS, SOLUTIONS, code, load

CHECK = re.compile(r"^ch\d\d\.check_(\d+)\((\w+)\)", re.MULTILINE)


@pytest.fixture(autouse=True)
def as_before():
    """A notebook may compute in float64 and sets the style of its figures; the next test starts without both."""
    dtype = torch.get_default_dtype()
    with matplotlib.rc_context():
        yield
    torch.set_default_dtype(dtype)


def verdicts(path, needed, capsys) -> list[str]:
    """Run the cells of a notebook that `needed` picks and return the verdicts printed; a tagged cell prints what is stored."""
    space, found = {}, []
    for cell in code(load(path)):
        if needed(cell.source):
            exec(compile(cell.source, path.name, "exec"), space)
            said = capsys.readouterr().out
            if "nbval-check-output" in cell.metadata.get("tags", ()):
                assert said == "".join(output.text for output in cell.outputs)
            found += [line for line in said.splitlines() if line.startswith("exercise ")]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem[:2])
def test_every_solution_passes(path, capsys, monkeypatch):
    """Their cells run here, where a kernel would only add its start: `make test` runs those of the chapters in one."""
    monkeypatch.setenv("MINILDM_MODE", "fast")
    found = verdicts(path, lambda source: True, capsys)
    checked = sum(len(CHECK.findall(cell.source)) for cell in code(load(path)))
    assert len(found) == checked and all(": passed on" in line for line in found), found


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem[:2])
def test_every_empty_hole_is_open(path, capsys):
    found = verdicts(
        path, lambda source: "raise NotImplementedError(" in source or CHECK.search(source), capsys
    )
    checked = [name for cell in code(load(path)) for name, _ in CHECK.findall(cell.source)]
    assert checked and [line.split(":")[0] for line in found] == [
        f"exercise {path.stem[:2]}.{n}" for n in checked
    ]
    assert all(": open." in line for line in found), found


def test_chapter_and_solutions_have_the_same_checks():
    for chapter, solution in zip(CHAPTERS, SOLUTIONS):
        wanted, given = (
            {name for cell in code(load(path)) for name, _ in CHECK.findall(cell.source)}
            for path in (chapter, solution)
        )
        assert wanted == given, chapter.name
