"""Files of a run that cannot be read or written: one sentence that names them, and nothing half written."""

import builtins
import errno
import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minildm import pretrained
from minildm.errors import UserError, check_place, expand, write_atomically
from minildm.models.gpt import GPTConfig
from minildm.models.registry import outline
from minildm.training import checkpoint, sizes
from minildm.training.metrics import MetricsLog, plain, read_metrics, report
from minildm.training.resume import differences
from minildm.training.sizes import refuse_sizes, refuse_weights

from . import tiny


def refused(make) -> str:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def run(tmp_path):
    tiny.make_trainer("gpt", tmp_path / "run", steps=4).fit(quiet=True)
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nope", "/proc/nope/below"])
def test_places_that_cannot_be_written(place, tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / place
    assert refused(lambda: check_place(folder)).startswith(f"{folder} cannot be written (")
    assert refused(lambda: tiny.make_trainer("gpt", folder)).endswith("choose another --out")
    assert refused(
        lambda: write_atomically(folder / "x", lambda beside: beside.write_text("x"))
    ).endswith("another place")
    assert refused(lambda: checkpoint.write_folder(folder / "x", {}, {})).startswith(
        f"could not save {folder}/x: "
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (
        tmp_path / "file"
    ).read_text() == "in the way"


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path):
    check_place(tmp_path / "not" / "yet" / "there")
    assert not list(tmp_path.iterdir())


def test_homes():
    assert expand("~/x") == Path.home() / "x"
    assert (
        refused(lambda: expand("~nosuchuser/x"))
        == "there is no home folder for ~nosuchuser/x: write the whole path"
    )


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_file_is_written_whole_or_stays_as_it_was(fault, tmp_path):
    def half(beside):
        beside.write_text("half")
        raise fault

    path = tmp_path / "file.json"
    write_atomically(path, lambda beside: beside.write_text("first"))
    with pytest.raises((UserError, KeyboardInterrupt)):
        write_atomically(path, half)
    assert path.read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_a_full_disk_while_logging_leaves_whole_lines(run, monkeypatch):
    path = run / "metrics.jsonl"
    log = MetricsLog(run, 4)
    before = path.read_bytes()

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *fault):
            self.file.close()

        def write(self, text):
            self.file.write(text[:9])
            self.file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode: Full(builtins.open(self, mode)))
        said = refused(lambda: log.write(step=5, loss=0.5))
    assert said == (
        f"{path} cannot be written (No space left on device): free some space, then repeat the command, "
        "which goes on from the last checkpoint"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b'{"step": 1, "ki\n{"step": 2}\n',
        b"[1]\n",
        b'{"steps": 1}\n',
        b'{"step": "1"}\n',
        b"\xff\n",
    ],
)
def test_a_damaged_log_is_named_and_not_needed(content, run):
    path = run / "metrics.jsonl"
    path.write_bytes(content)
    trainer = tiny.make_trainer("gpt", run, steps=6)
    trainer.resume()
    for read in (
        lambda: read_metrics(path),
        lambda: trainer.fit(quiet=True),
        lambda: pretrained.minutes(run),
    ):
        said = refused(read)
        assert said.startswith(f"{path} is damaged (") and said.endswith(
            "delete it; the checkpoints beside it do not need it"
        )
    assert path.read_bytes() == content
    path.unlink()
    trainer.fit(quiet=True)
    assert [line["step"] for line in read_metrics(path)] == [5, 6]


@pytest.mark.parametrize(
    "content, wrong",
    [
        ('{"step": 1}', "config, best, best_score"),
        ("[]", "it holds no fields"),
        ("{", "Expecting"),
        ('{"step": 2, "config": {}, "best": null, "best_score": null}', "contradict"),
        ('{"step": 4, "config": {}, "best": "step_0000004", "best_score": null}', "contradict"),
        ('{"step": "4", "config": {}, "best": 3, "best_score": null}', "step, best"),
    ],
)
def test_cards_of_the_wrong_shape(content, wrong, run):
    folder = run / "step_0000004"
    (folder / "card.json").write_text(content)
    said = refused(tiny.make_trainer("gpt", run, steps=4).resume)
    assert said.startswith(f"{folder}/card.json is damaged (") and wrong in said
    assert said.endswith("delete its folder and use an earlier checkpoint")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda x: x.pop("0.0.exp_avg"), "lacks a part of its numbers"),
        (
            lambda x: x.update({"0.99.exp_avg": torch.zeros(2)}),
            r"does not fit the model (0.99.exp_avg)",
        ),
        (
            lambda x: x.update({"0.0.exp_avg": torch.zeros(2)}),
            r"does not fit the model (0.0.exp_avg)",
        ),
        (lambda x: x.update({"0.0.step": torch.tensor(3)}), r"does not fit the model (0.0.step)"),
    ],
)
def test_moments_of_another_model(change, said, run):
    path = run / "step_0000004" / "optimizer.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    assert said in refused(tiny.make_trainer("gpt", run, steps=4).resume)


def test_averages_of_another_model_are_refused_before_anything_is_loaded(run):
    path = run / "step_0000004" / "ema.safetensors"
    tensors = load_file(path)
    save_file(
        {name: x.long() if name == "embedding.weight" else x for name, x in tensors.items()}, path
    )
    trainer = tiny.make_trainer("gpt", run, steps=4)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    assert (
        "is damaged: embedding.weight has numbers of type torch.int64, not torch.float32"
        in refused(trainer.resume)
    )
    assert (
        all(before[k].equal(v) for k, v in trainer.model.state_dict().items()) and trainer.step == 0
    )


def test_a_best_checkpoint_that_is_not_there(run):
    path = run / "step_0000004" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best": "step_0000002"}))
    assert f"the best checkpoint of {run}, step_0000002, is not there" in refused(
        lambda: pretrained.load(run)
    )


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "zoo:\udcff"])
def test_names_that_no_model_can_have(name):
    assert refused(lambda: pretrained.load(name)).startswith("no model ")


def test_differences_are_named_field_by_field():
    old, new = (
        {"a": {"b": 1, "c": [1]}, "d": None, "same": 0},
        {"a": {"b": 2, "c": [1, 2]}, "e": "x", "same": 0},
    )
    assert differences(old, new) == [
        "a.b was 1 and is 2",
        "a.c was [1] and is [1, 2]",
        "e was None and is x",
    ]
    assert differences({"a": {"b": 1}}, {"a": 3}) == ["a was {'b': 1} and is 3"]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"n_layers": 5000}, "--model.n-layers must be at most 1000, not 5000"),
        ({"seq_len": 10**6}, "--length must be at most 16384"),
        ({"d_model": 10**9, "n_heads": 1}, "--model.d-model must be at most 10000000"),
        ({"vocab_size": 0}, "must be at least 1"),
        (
            {"d_model": 18},
            "a width of 18 cannot be cut into 4 heads of even size: change --model.d-model",
        ),
    ],
)
def test_sizes_out_of_bounds(changes, said):
    assert said in refused(lambda: refuse_sizes(GPTConfig(**changes)))


def test_a_model_that_memory_does_not_hold(monkeypatch):
    model = outline("gpt", GPTConfig(n_layers=2))
    assert all(p.is_meta for p in model.parameters())
    weights = sum(p.numel() for p in model.parameters())
    monkeypatch.setattr(sizes, "memory", lambda device: 20 * weights)
    refuse_weights(model, torch.device("cpu"))
    monkeypatch.setattr(sizes, "memory", lambda device: 20 * weights - 1)
    assert "lower --model.d-model or the number of its layers" in refused(
        lambda: refuse_weights(model, torch.device("cpu"))
    )


def test_what_is_shown_is_one_text_in_lines_that_fit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    words = " ".join(random.Random(0).choice(["fox", "owl", "mill"]) for _ in range(40))
    lines = report(20, {"nats_per_token": 1.23456, "score": 9.0, "text": words}).splitlines()
    assert lines[0] == "step 20: nats per token 1.235" and max(map(len, lines)) < 60
    assert " ".join(line.strip() for line in lines[1:]) == words
    assert (
        plain("a\n\tb\x1b[2J \x07\u202e caf\u00e9 \U0001f98a") == "a b?[2J ?? caf\u00e9 \U0001f98a"
    )
