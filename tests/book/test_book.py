"""The book's own tools: opening a chapter, normalized outputs, and verdicts."""

import base64

import nbformat
import pytest

import minildm
from minildm import UserError, book
from minildm.viz.core.figures import panels


def test_chapter_reads_the_mode(monkeypatch, capsys):
    monkeypatch.setenv("MINILDM_MODE", "fast")
    opened = minildm.chapter(7)
    assert opened.sizes.steps < minildm.chapters.MODES["laptop"].steps
    assert opened.rng.initial_seed() == 7 and capsys.readouterr().out.count("\n") == 1
    monkeypatch.setenv("MINILDM_MODE", "huge")
    with pytest.raises(UserError, match="fast, laptop, full"):
        minildm.chapter(7)


def test_figure_is_shown_with_its_description_and_its_name(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(
        minildm.chapters, "display", lambda data, metadata, raw: shown.append((data, metadata))
    )
    figure, (axes,) = panels(1)
    axes.plot([1, 2])
    minildm.chapter(3).figure(figure, "line", "A line that rises from one to two.")
    ((data, metadata),) = shown
    assert (
        metadata["image/png"]["alt"] == "A line that rises from one to two." == data["text/plain"]
    )
    output = nbformat.v4.new_output("display_data", data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    assert book.figures(notebook) == {"03_line": base64.b64decode(data["image/png"])}


def test_an_appendix_has_a_letter(capsys):
    opened = minildm.chapter("a")
    assert opened.name == "appendix_a" and "appendix a, " in capsys.readouterr().out


def test_chapters_and_appendices_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "NOTEBOOKS", tmp_path)
    names = [
        "00_start.ipynb",
        "12_end.ipynb",
        "appendix_a_notation.ipynb",
        "solutions/12_end.ipynb",
    ]
    (tmp_path / "solutions").mkdir()
    for name in names:
        (tmp_path / name).touch()
    relative = [path.relative_to(tmp_path).as_posix() for path in book.chapters([])]
    assert relative == [names[0], names[1], names[3], names[2]]
    assert book.chapters(["appendix_a"]) == [tmp_path / names[2]]


def test_cells_are_numbered():
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("x = 1")]
    cells[1].metadata = {"tags": ["nbval-check-output"], "jupyter": {"source_hidden": True}}
    notebook = nbformat.v4.new_notebook(cells=cells)
    book.normalize(notebook)
    assert [cell.id for cell in notebook.cells] == ["cell-00", "cell-01"]
    assert notebook.cells[1].metadata == {"tags": ["nbval-check-output"]}


def test_random_names_of_widgets_are_numbered():
    first, second = "0" * 31 + "f", "a" * 32
    assert (
        book.rename_widgets(f'"{second}" "{first}" "{second}"')
        == f'"{0:032x}" "{1:032x}" "{0:032x}"'
    )


def test_a_stream_is_one_output_however_it_was_cut():
    def said(*pieces):
        return [nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces]

    picture = nbformat.v4.new_output("display_data", {"text/plain": "a picture"})
    cell = nbformat.v4.new_code_cell(
        "x",
        outputs=said(("stdout", "a"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d"))
        + [picture]
        + said(("stdout", "e"), ("stdout", "f")),
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    book.normalize(notebook)
    assert notebook.cells[0].outputs == (
        said(("stdout", "ab\n"), ("stderr", "c"), ("stdout", "d"))
        + [picture]
        + said(("stdout", "ef"))
    )


def test_faults_are_found():
    cell = nbformat.v4.new_code_cell("x", execution_count=2)
    cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text="careful")]
    assert book.faults(nbformat.v4.new_notebook(cells=[cell])) == [
        "careful",
        "the execution counts are not 1..n",
    ]


def test_unknown_chapter_is_refused():
    with pytest.raises(UserError, match="no chapter 98"):
        book.chapters(["98"])


def test_citations_are_linked_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "NOTEBOOKS", tmp_path)
    entry = (
        "@book{Bell1957, author = {Bell, Ann}, title = {Programs}, year = {1957}, doi = {10.1/2}}"
    )
    (tmp_path / "references.bib").write_text(entry)
    path = tmp_path / "00_start.ipynb"
    cell = nbformat.v4.new_markdown_cell("as known [@Bell1957].")
    book.save(nbformat.v4.new_notebook(cells=[cell]), path)
    book.linked(path)
    assert book.read(path).cells[0].source == (
        'as known ([Bell, 1957](https://doi.org/10.1/2 "Bell1957: Programs")).\n\n### References\n\n'
        "- A. Bell (1957). *Programs*. <https://doi.org/10.1/2>"
    )
