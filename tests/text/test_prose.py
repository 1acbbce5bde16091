"""Text files as people have them: one line, marks and ends of lines, repeated paragraphs, long ones, odd letters and paths."""

import os
from pathlib import Path

import numpy as np
import pytest

from minildm.errors import UserError
from minildm.text import sources, tales
from minildm.text.corpora import PIECE, Corpus, cache_folder, load_corpus, no_progress
from minildm.text.sources import first_part
from minildm.text.tokenizers import BytePairTokenizer

ROWS = [f"the fox number {i} went to the mill" for i in range(200)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


@pytest.fixture
def load(tmp_path):
    """A corpus out of some bytes, by default in rows of 64 tokens."""

    def load(content: bytes, length: int = 64, **options) -> Corpus:
        path = tmp_path / "text.txt"
        path.write_bytes(content)
        return load_corpus(f"file:{path}", length, vocab_size=300, **options)

    return load


def spelled(corpus: Corpus, part: str = "train") -> list[str]:
    return [corpus.tokenizer.decode(row) for row in getattr(corpus, part)]


def test_one_long_line_is_split_by_position(load):
    line = " ".join(ROWS)
    corpus = load(line.encode())
    train, valid = ("".join(spelled(corpus, part)) for part in ("train", "valid"))
    cut = int(0.9 * len(line))
    assert (
        corpus.card["pack"]
        and line[:cut].startswith(train)
        and line[cut:].strip().startswith(valid)
    )
    assert len(train) > 0.85 * len(line) and len(valid) > 0.08 * len(line)


@pytest.mark.parametrize(
    "documents, train, valid",
    [
        (["a" * 100], ["a" * 90], ["a" * 10]),
        (["a" * 100, "b"], ["a" * 90], ["a" * 10, "b"]),
        (["b", "a" * 99], ["b", "a" * 89], ["a" * 10]),
        (["a" * 45 + " " + "c" * 54], ["a" * 45 + " " + "c" * 44], ["c" * 10]),
        (["a"], [], ["a"]),
        ([], [], []),
    ],
)
def test_a_document_is_cut_where_whole_ones_leave_nothing_to_validate(documents, train, valid):
    assert first_part(documents) == (train, valid)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + "\n\n".join(ROWS).encode(),
        "\r\n\r\n".join(ROWS).encode(),
        "\r\r".join(ROWS).encode(),
    ],
)
def test_marks_and_ends_of_lines_are_no_text(content, load):
    corpus = load(content)
    assert spelled(corpus) + spelled(corpus, "valid") == ROWS


def test_a_paragraph_is_never_in_both_parts(load, capsys):
    corpus = load(
        "\n\n".join(ROWS[:100] + ["a refrain"] + ROWS[100:] + ["a refrain"]).encode(), quiet=False
    )
    train, valid = spelled(corpus), spelled(corpus, "valid")
    assert (
        train.count("a refrain") == 1
        and not set(train) & set(valid)
        and corpus.card["duplicates"] == 1
    )
    assert (
        "    1 document(s) to validate are also among those to train on, and were left out\n"
        in capsys.readouterr().out
    )
    assert "duplicates" not in load("\n\n".join(ROWS).encode()).card


def test_paragraphs_that_are_too_long_are_packed_with_one_line_that_says_so(load, capsys):
    text = "\n\n".join([*ROWS[:100], "a long one " * 40, *ROWS[100:]]).encode()
    corpus = load(text, 32, quiet=False)
    said = "packed: some have more than 30 tokens, which do not fit, so all are joined and cut"
    assert corpus.card["pack"] and capsys.readouterr().out.count(said) == 1
    assert np.array_equal(corpus.train, load(text, 32, pack=True, quiet=False).train)
    assert said not in capsys.readouterr().out


def test_preparing_is_reported_and_a_cache_is_not_prepared_again(load, capsys, cache):
    content = "\n\n".join(ROWS).encode()
    for prepared in (True, False):
        corpus = load(content, quiet=False)
        said = capsys.readouterr().out
        assert ("preparing the corpus file:" in said and f" in {cache}" in said) == prepared
        assert (
            f"{len(corpus.train)} document(s), {corpus.card['tokens']['train']:,} tokens in {len(corpus.train)} rows"
            in said
        )
    load(content)
    assert capsys.readouterr() == ("", "")


def test_odd_letters_are_text(load):
    odd = [
        "NUL \0 and bell \a",
        "e\u0301 is no \u00e9",
        "\u202eright to left",
        "\U0001f98a\ufe0f\u200d",
        "\ufeff inside",
    ]
    corpus = load("\n\n".join(odd + ROWS).encode())
    assert spelled(corpus)[:5] == odd


def test_odd_paths_are_paths(tmp_path):
    folder = tmp_path / "na\u00efve \u6f22\u5b57 'quoted'"
    folder.mkdir()
    (folder / "a text.txt").write_text("\n\n".join(ROWS))
    (tmp_path / "link").symlink_to(folder / "a text.txt")
    name = os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe9.txt")
    Path(name).write_text("\n\n".join(ROWS))
    found = [
        load_corpus(f"file:{path}", 64, vocab_size=300)
        for path in (folder / "a text.txt", tmp_path / "link", name)
    ]
    assert all(np.array_equal(corpus.train, found[0].train) for corpus in found)


def test_pieces_of_a_long_text_have_its_tokens():
    text = " ".join(ROWS * 20) + "\n\n  " + "x" * 20_000
    pieces = PIECE.findall(text)
    assert "".join(pieces) == text and max(map(len, pieces)) == 8192
    tokenizer = BytePairTokenizer.train(ROWS, 300)
    words = " ".join(ROWS * 20)
    assert [
        i for piece in PIECE.findall(words) for i in tokenizer.encode(piece)
    ] == tokenizer.encode(words)


def test_an_empty_cache_variable_is_none(monkeypatch):
    monkeypatch.setenv("HOME", "/some/home")
    for value in ("", None):
        monkeypatch.setenv("MINILDM_CACHE", value) if value is not None else monkeypatch.delenv(
            "MINILDM_CACHE"
        )
        assert cache_folder() == Path("/some/home/.cache/minildm")
    monkeypatch.setenv("HOME", "/proc/home")  # where nobody can write
    with pytest.raises(
        UserError,
        match=r"/proc/home/.*/corpora cannot be written .*: set MINILDM_CACHE to a folder that can",
    ):
        load_corpus("tales", 64)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def other_number(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["train.npy", "valid.npy", "card.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", [truncated, other_number, Path.unlink])
def test_a_damaged_cache_is_reported_in_one_sentence_that_names_the_folder(name, damage, cache):
    load_corpus("tales", 64, documents=10)
    folder = next(cache.iterdir())
    damage(folder / name)
    with pytest.raises(UserError) as refusal:
        load_corpus("tales", 64, documents=10)
    said = str(refusal.value)
    assert (
        said.startswith(f"the cached corpus {folder} is damaged (")
        and "\n" not in said
        and "[" not in said
    )
    assert said.endswith("): delete this folder, then repeat the command")


def test_ctrl_c_while_preparing_leaves_nothing(load, cache, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        load("\n\n".join(ROWS).encode())
    assert not list(cache.iterdir())


def test_the_documents_of_tales_are_those_of_their_splits():
    read = sources.source("tales:1", 30).read(no_progress)
    assert read == (tales.split("train", 30, events=1), tales.split("valid", 3, events=1))
