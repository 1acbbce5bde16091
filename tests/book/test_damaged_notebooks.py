"""Two thousand damaged notebooks: each can still be read, or is refused in one sentence; the file is never touched."""

import json
import random

import nbformat
import pytest

from minildm import UserError
from minildm.book import read

CELLS = [nbformat.v4.new_markdown_cell("# 99 · Title"), nbformat.v4.new_code_cell("print(1)")]
WHOLE = nbformat.writes(nbformat.v4.new_notebook(cells=CELLS)).encode()
JUNK = (None, 7, -1.5, "", "\x00", [], {}, [[]], True, "é", 10**30)


def damaged_bytes(rng: random.Random) -> bytes:
    """Cut off, a few bytes replaced, or a piece repeated."""
    text = bytearray(WHOLE)
    at = rng.randrange(len(text))
    kind = rng.randrange(3)
    if kind == 0:
        return bytes(text[:at])
    if kind == 1:
        for _ in range(rng.randint(1, 5)):
            text[rng.randrange(len(text))] = rng.randrange(256)
        return bytes(text)
    return bytes(text[:at] + text[rng.randrange(len(text)) :])


def damaged_values(rng: random.Random) -> bytes:
    """One value somewhere in the JSON replaced or taken out."""
    whole = json.loads(WHOLE)
    node = rng.choice([whole, whole["metadata"], *whole["cells"]])
    key = rng.choice(list(node) or ["cells"])
    if rng.random() < 0.3:
        node.pop(key, None)
    else:
        node[key] = rng.choice(JUNK)
    return json.dumps(whole).encode()


@pytest.mark.filterwarnings("ignore")  # nbformat warns of what it repairs
def test_damaged_notebooks_are_read_or_refused(tmp_path):
    rng, path, refused = random.Random(0), tmp_path / "99_title.ipynb", 0
    for i in range(2000):
        content = (damaged_bytes, damaged_values)[i % 2](rng)
        path.write_bytes(content)
        try:
            read(path)
        except UserError as sentence:
            refused += 1
            assert "\n" not in str(sentence) and str(path) in str(sentence)
        assert path.read_bytes() == content
    assert 500 < refused < 2000
