"""The book as a site: `make site` turns the notebooks, with their committed outputs, into pages without kernel and network."""

import inspect
import json
import re
from dataclasses import is_dataclass

from docutils import nodes

FIELD = re.compile(r"^    (\w+):[^#\n]*(?:\(\n[^#\n]*)?# (.+)$", re.M)  # with its comment

project = "minildm"
html_title = "Language generation as optimal control"
exclude_patterns = ["README.md", "benchmarks", "**/.ipynb_checkpoints"]
suppress_warnings = [
    "myst.header"
]  # solutions number exercises on the third level, without a second
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "sphinx-mathjax-offline",
]
autosummary_generate = False  # one page, api.md, describes what is public
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # page.js draws the widgets, from the state that a notebook holds
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["notebooks/references.bib"]

html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_fullscreen_button": False,
    "use_download_button": False,
    "footer_content_items": [],
    "show_toc_level": 2,
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_copy_source = False  # each page links to its notebook
html_favicon = "icon.svg"
html_static_path = ["site.css", "page.js"]
html_css_files, html_js_files = ["site.css"], [("page.js", {"defer": "defer"})]


def notebook_for_pages(app, docname: str, source: list[str]) -> None:
    """Describe the images of a notebook, lead its links to the contents to the first page, and link to its file."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        cell["source"] = (
            "".join(cell["source"])
            .replace("](../README.md)", "](../index.md)")
            .replace("](#R", "](#r")
        )
        for output in cell.get("outputs", []):
            if shown := output.get("metadata", {}).get("image/png"):
                cell["metadata"]["mystnb"] = {
                    "image": {"alt": shown["alt"], "width": f"{shown['width']}px"}
                }
    name = docname.rpartition("/")[2] + ".ipynb"
    notebook["cells"][0]["source"] += f"\n\nThis page as a notebook: {{download}}`{name}`"
    source[0] = json.dumps(notebook)


def whole_equations(app, doctree: nodes.document) -> None:
    """Keep display equations as they are written: Sphinx would put several lines in a `split`, which takes no number."""
    for equation in doctree.findall(nodes.math_block):
        equation["nowrap"] = True
        equation.children = [nodes.Text(rf"\[{equation.astext()}\]")]


def fields_of_dataclasses(app, what, name, thing, options, lines: list[str]) -> None:
    """Describe each field of a dataclass by the comment that stands after it."""
    if is_dataclass(thing):
        described = [
            f"* ``{name}``: {text}" for name, text in FIELD.findall(inspect.getsource(thing))
        ]
        lines += [*described, ""]


def setup(app) -> None:
    """Connect all to the build."""
    app.connect("autodoc-process-docstring", fields_of_dataclasses)
    app.connect("source-read", notebook_for_pages)
    app.connect("doctree-read", whole_equations)
