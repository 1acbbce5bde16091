# What minildm uses of pybtex, which sets its attributes to None before it fills them.
from collections.abc import Mapping
from os import PathLike

class Person:
    first_names: list[str]
    middle_names: list[str]
    prelast_names: list[str]
    last_names: list[str]

class Entry:
    fields: Mapping[str, str]
    persons: Mapping[str, list[Person]]

class BibliographyData:
    entries: Mapping[str, Entry]

def parse_file(file: str | PathLike[str]) -> BibliographyData: ...
