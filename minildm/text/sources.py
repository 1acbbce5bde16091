"""Sources: where the documents of a corpus come from, each split into a training and a validation part."""

import ast
import hashlib
import importlib.util
import itertools
import re
import zlib
from pathlib import Path
from typing import Callable, NamedTuple

from ..errors import UserError
from . import tales

Documents = tuple[list[str], list[str]]  # training, validation


class Source(NamedTuple):
    """A corpus before tokens: a fingerprint of its content, which is cheap, and its documents, which may not be."""

    fingerprint: str
    read: Callable[[], Documents]
    words: list[str] | None = None  # the vocabulary, where the language has one


def paragraphs(text: str) -> list[str]:
    """The blank-line separated parts of a text."""
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
    return Source(sha256(code + f"{events} {documents}".encode()), read, tales.vocabulary())


def file_source(path: str) -> Source:
    """`file:PATH`: a UTF-8 text, one document a paragraph."""
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as fault:
        raise UserError(f"the corpus file {path} cannot be read ({fault.strerror}): check the path") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise UserError(f"the corpus file {path} is not UTF-8 (byte {fault.start}): convert it to UTF-8") from None
    return Source(sha256(content), lambda: first_part(paragraphs(text)))


def source(name: str, documents: int) -> Source:
    """The source that a corpus name stands for; `documents` bounds those that never end."""
    kind, _, argument = name.partition(":")
    if kind == "tales":
        return tales_source(argument or "3", documents)
    if kind == "file" and argument:
        return file_source(argument)
    raise UserError(f"no corpus {name!r}: choose one of {', '.join(NAMES)}")


NAMES = ("tales", "tales:EVENTS", "pydocs", "kjv", "file:PATH", "hub:NAME")
