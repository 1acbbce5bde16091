"""Citations: links whose keys are found again, lists that are complete, and addresses of the right form."""

import re

import nbformat
import pytest

from minildm import UserError
from minildm.citations import address, authors, cite, cited, linked, raw, reference, references

from .notebooks import APPENDICES, CHAPTERS, ROOT, load, number, prose

ENTRIES = references(ROOT / "notebooks" / "references.bib")
HO = '[Ho et al., 2020](https://arxiv.org/abs/2006.11239 "Ho2020: Denoising diffusion probabilistic models")'
NICHOL = (
    "[Nichol and Dhariwal, 2021](https://arxiv.org/abs/2102.09672 "
    '"Nichol2021: Improved Denoising Diffusion Probabilistic Models")'
)
page = pytest.mark.parametrize("path", CHAPTERS + APPENDICES, ids=number)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It keeps the variance [@Ho2020]; ours", f"It keeps the variance ({HO}); ours"),
        ("the schedule of [@Ho2020]", f"the schedule of {HO}"),
        ("| a claim | [@Ho2020], [@Nichol2021] |", f"| a claim | {HO}, {NICHOL} |"),
        ("known [@Ho2020] [@Nichol2021].", f"known ({HO}; {NICHOL})."),
        ("known [@Ho2020; @Nichol2021].", f"known ({HO}; {NICHOL})."),
        (
            "Ho and others [@Ho2020] showed",
            f"Ho and others ({HO.replace('Ho et al., ', '')}) showed",
        ),
        (
            "Bellman [@Bellman1957] said",
            'Bellman ([1957](#References "Bellman1957: Dynamic programming")) said',
        ),
        (
            "a [link](page.ipynb) and (brackets) [@Ho2020]",
            f"a [link](page.ipynb) and (brackets) ({HO})",
        ),
    ],
)
def test_a_citation_is_a_link_that_is_found_again(text, wanted):
    assert linked(text, ENTRIES) == wanted == linked(wanted, ENTRIES)
    assert cited(wanted) == cited(text) == re.findall(r"@(\w+)", text)
    assert set(re.findall(r"@\w+", raw(wanted))) == set(re.findall(r"@\w+", text))


def test_an_unknown_key_is_refused():
    with pytest.raises(UserError, match=r"\[@Nobody1999\] is not in references.bib"):
        linked("so they say [@Nobody1999]", ENTRIES)


def test_a_list_names_each_work_once_and_is_written_anew():
    texts = [
        "Two of them [@Ho2020], [@Nichol2021].",
        "## Further reading\n\n- [@Ho2020] began.",
        "## Whose is what",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(text) for text in texts]
    )
    cite(notebook, ENTRIES)
    once = [cell.source for cell in notebook.cells]
    cite(notebook, ENTRIES)
    assert once == [cell.source for cell in notebook.cells]
    works = f"- {reference(ENTRIES['Ho2020'])}\n- {reference(ENTRIES['Nichol2021'])}"
    assert once[1].endswith(f"\n\n### References\n\n{works}") and once[2] == texts[2]
    notebook.cells[0].source = "None of them."
    cite(notebook, ENTRIES)
    assert "Nichol" not in notebook.cells[1].source


def test_a_work_is_described_in_words():
    assert authors(ENTRIES["Leonard2014"]) == "Léonard"
    assert authors(ENTRIES["DeBortoli2021"]) == "De Bortoli et al."
    assert reference(ENTRIES["Anderson1982"]) == (
        "B. D. O. Anderson (1982). *Reverse-time diffusion equation models*. Stochastic Processes and their Applications. "
        "<https://doi.org/10.1016/0304-4149%2882%2990051-5>"
    )


@pytest.mark.parametrize("key", ENTRIES)
def test_every_reference_has_an_author_a_year_and_an_address_of_the_right_form(key):
    entry = ENTRIES[key]
    assert (
        entry.persons["author"]
        and entry.fields["title"]
        and re.fullmatch(r"\d{4}", entry.fields["year"])
    )
    if where := address(entry):
        (kind,) = {"doi", "eprint", "url"} & set(entry.fields.keys())
        form = {"doi": r"10\.\d{4,}/\S+", "eprint": r"\d{4}\.\d{4,5}", "url": r"https?://\S+"}[kind]
        assert re.fullmatch(form, entry.fields[kind])
        assert not re.search(r"[()\s]", where)


@page
def test_a_chapter_links_its_citations_and_lists_their_works(path):
    notebook = load(path)
    before = [cell.source for cell in notebook.cells]
    cite(notebook, ENTRIES)
    assert before == [cell.source for cell in notebook.cells], "run `python -m minildm.book --cite`"
    text = prose(notebook)
    works = re.findall(
        r"^- .+ \(\d{4}\)\. \*(.+?)\*\.", text.partition("\n### References\n")[2], re.MULTILINE
    )
    assert len(works) == len(set(re.findall(r'\]\(\S+ "(\w+): ', text)))
    assert set(works) == set(re.findall(r'\]\(\S+ "\w+: ([^"]+)"\)', text))
