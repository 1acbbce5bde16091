"""Citations: `[@Key]` in a chapter becomes a link, and the chapter ends with a list of sources.

A link keeps the key in its title, as in `[Ho et al., 2020](URL "Ho2020: Denoising ...")`, so that
`cite` finds what it wrote before and writes it anew. Sources are the entries of
`notebooks/references.bib`.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
from pybtex.database import Entry, Person, parse_file
from pybtex.richtext import Text

from .errors import UserError

LINK = re.compile(r'\[[^\]]*\]\(\S+ "(\w+): [^"]*"\)')
RAW = re.compile(r"\[(@\w+(?:; @\w+)*)\]")
LIST = re.compile(r"\n\n### References\n\n(?:- .*(?:\n|\Z))*")
READING = "## Further reading"
# What stands before a citation that is read as a noun, and so has no parentheses.
NOUN = re.compile(
    r"(?:^|[-|,;:(.]|\b(?:after|and|as|by|from|in|of|or|see|that|to|with))\s*\Z", re.MULTILINE
)
HERE = "#References"  # where a work without an address is described
# Fields that name where a work appeared, the first one found counts.
VENUES = "journal booktitle publisher howpublished archiveprefix".split()
MOST_AUTHORS = 4  # that a list names


def references(path: Path) -> Mapping[str, Entry]:
    """The entries of a file of references by key."""
    return parse_file(path).entries


def plain(latex: str) -> str:
    """A field of a reference without braces and commands."""
    return str(Text.from_latex(latex))


def surname(person: Person) -> str:
    """The name that an author is cited by."""
    return plain(" ".join(person.prelast_names + person.last_names))


def initial(name: str) -> str:
    """A first name as its first letters: Jean-David is J.-D."""
    return "-".join(f"{part[0]}." for part in name.split("-"))


def authors(entry: Entry) -> str:
    """The authors as a citation names them: Kalman; Anderson and Moore; Song et al."""
    names = [surname(person) for person in entry.persons["author"]]
    if len(names) > 2 or "others" in names:
        return f"{names[0]} et al."
    return " and ".join(names)


def address(entry: Entry) -> str | None:
    """Where the work is found, if that is known: by its DOI, on arXiv, or elsewhere."""
    fields = entry.fields
    found = (
        f"https://doi.org/{fields['doi']}"
        if "doi" in fields
        else f"https://arxiv.org/abs/{fields['eprint']}"
        if "eprint" in fields
        else fields.get("url")
    )
    return found and found.replace("(", "%28").replace(")", "%29")


def link(key: str, entry: Entry, shown: str) -> str:
    """A citation of one work, whose title holds the key."""
    return f'[{shown}]({address(entry) or HERE} "{key}: {plain(entry.fields["title"])}")'


def reference(entry: Entry) -> str:
    """A work in a list: authors, year, title, where it appeared, and its address."""
    people, fields = entry.persons["author"], entry.fields
    names = [
        " ".join([*map(initial, person.first_names + person.middle_names), surname(person)])
        for person in people
        if surname(person) != "others"
    ]
    more = len(names) < len(people) or len(names) > MOST_AUTHORS
    listed = ", ".join(names[:MOST_AUTHORS]) + (" et al." if more else "")
    venue = next((plain(fields[key]) for key in VENUES if key in fields), None)
    parts = [
        f"{listed} ({fields['year']})",
        f"*{plain(fields['title'])}*",
        venue,
        fields.get("note"),
    ]
    return ". ".join(filter(None, parts)) + "." + (f" <{address(entry)}>" if address(entry) else "")


def raw(text: str) -> str:
    """The text with its citations as keys, `[@Key]`, whoever wrote them."""
    marked = LINK.sub(r"[@\1]", LIST.sub("", text))
    marked = re.sub(r"\((\[@\w+\](?:; \[@\w+\])*)\)", r"\1", marked)
    return re.sub(r"(@\w+)\][;,]? \[(?=@)", r"\1; ", marked)


def cited(text: str) -> list[str]:
    """The keys that a text cites, each once."""
    return list(
        dict.fromkeys(
            key for group in RAW.findall(raw(text)) for key in group.replace("@", "").split("; ")
        )
    )


def linked(text: str, entries: Mapping[str, Entry]) -> str:
    """The text with its citations as links, in parentheses where they interrupt a sentence.

    Raises UserError when a key is not in the references.
    """
    text = raw(text)

    def links(match: re.Match) -> str:
        before, keys = text[: match.start()], match[1].replace("@", "").split("; ")
        if missing := [key for key in keys if key not in entries]:
            raise UserError(
                f"[@{missing[0]}] is not in references.bib: add an entry, or cite one that is there"
            )
        first = authors(entries[keys[0]])
        if len(keys) == 1 and before.rstrip().endswith(
            (first, first.replace(" et al.", " and others"))
        ):
            return f"({link(keys[0], entries[keys[0]], entries[keys[0]].fields['year'])})"
        found = [
            link(key, entries[key], f"{authors(entries[key])}, {entries[key].fields['year']}")
            for key in keys
        ]
        return ", ".join(found) if NOUN.search(before) else f"({'; '.join(found)})"

    return RAW.sub(links, text)


def cite(notebook: nbformat.NotebookNode, entries: Mapping[str, Entry]) -> None:
    """Link the citations of a notebook, and list the works under "Further reading", or in its last
    text where there is none.
    """
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    keys = cited("\n\n".join(LIST.sub("", cell.source) for cell in texts))
    for cell in texts:
        cell.source = linked(cell.source, entries)
    if keys:
        home = next((cell for cell in texts if cell.source.startswith(READING)), texts[-1])
        works = sorted(
            (entries[key] for key in keys), key=lambda work: (authors(work), work.fields["year"])
        )
        home.source += "\n\n### References\n\n" + "\n".join(
            f"- {reference(work)}" for work in works
        )
