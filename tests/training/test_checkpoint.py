"""Checkpoints: all or nothing, the last two and the best are kept, and what does not fit is refused in one sentence."""

import errno
import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from minildm.errors import UserError
from minildm.training import checkpoint

from . import tiny


def names(run) -> list[str]:
    return sorted(p.name for p in run.iterdir() if p.is_dir())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
@pytest.mark.parametrize("full_at", ["model", "ema", "optimizer"])
def test_a_full_disk_leaves_no_half_written_folder(error, full_at, tmp_path, monkeypatch):
    tiny.make_trainer("gpt", tmp_path, save_every=6).fit(quiet=True)
    trainer = tiny.make_trainer("gpt", tmp_path, save_every=6)
    trainer.resume()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(tensors, path):
        path.write_bytes(b"half")
        if path.stem == full_at:
            raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    trainer.step += 1
    with pytest.raises(
        UserError, match=r"could not save .*step_0000013.*No space left.*free some space"
    ):
        trainer.save()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert names(tmp_path) == ["step_0000006", "step_0000012"]


@pytest.mark.parametrize(
    "scores, kept",
    [
        ([5, 4, 3, 2, 1, 0], [5, 6]),  # the best is the last
        ([5, 1, 3, 2, 4, 6], [2, 5, 6]),
        ([0, 1, 3, 2, 4, 6], [1, 5, 6]),  # a score of zero is a score
    ],
)
def test_the_last_two_and_the_best_are_kept(scores, kept, tmp_path):
    trainer = tiny.make_trainer("gpt", tmp_path, steps=6, save_every=1, eval_every=1)
    trainer.fit(lambda model, step: {"score": float(scores[step - 1])}, quiet=True)
    assert names(tmp_path) == [f"step_{i:07d}" for i in kept]
    again = tiny.make_trainer("gpt", tmp_path, steps=6, save_every=1, eval_every=1)
    again.resume()
    assert (again.best, again.best_score) == (trainer.best, min(scores))


def test_the_best_is_kept_when_evaluations_fall_between_saves(tmp_path):
    trainer = tiny.make_trainer("gpt", tmp_path, steps=12, save_every=5, eval_every=2)
    trainer.fit(lambda model, step: {"score": abs(step - 4.0)}, quiet=True)
    assert trainer.best == "step_0000004"
    assert names(tmp_path) == ["step_0000004", "step_0000010", "step_0000012"]
    assert checkpoint.read_card(tmp_path / "step_0000004")["best"] == "step_0000004"


def test_prune_counts_no_unfinished_folder(tmp_path):
    for name in ("step_0000001", "step_0000002", "step_0000003", "step_0000004.tmp", "other"):
        (tmp_path / name).mkdir()
    checkpoint.prune(tmp_path, best=None)
    assert names(tmp_path) == ["other", "step_0000002", "step_0000003", "step_0000004.tmp"]


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "model"
    checkpoint.write_folder(folder, {"old": {"x": torch.zeros(2)}}, {"step": 1})
    checkpoint.write_folder(folder, {"new": {"x": torch.ones(2)}}, {"step": 2})
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "new.safetensors"]
    assert checkpoint.read_card(folder) == {"step": 2} and names(tmp_path) == ["model"]


def test_optimizer_goes_through_files_unchanged(tmp_path):
    first = tiny.make_trainer("ldlm", tmp_path, steps=5)
    first.fit(quiet=True)
    second = tiny.make_trainer("ldlm", tmp_path, steps=5)
    assert second.resume()
    ours, theirs = (t.optimizer.tensors() for t in (first, second))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype for k in ours)
    adamw, muon = (
        sum(len(group["params"]) for group in part.param_groups) for part in first.optimizer.parts
    )
    assert len(ours) == 3 * adamw + muon  # two moments and a step each; one momentum each


def test_frozen_weights_are_not_kept(tmp_path):
    trainer = tiny.make_trainer("ldlm", tmp_path, steps=1)
    trainer.fit(quiet=True)
    kept = load_file(tmp_path / "step_0000001" / "model.safetensors")
    assert kept and not any(name.startswith("frozen.network.") for name in kept)


def test_cards_and_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"is not a checkpoint: it has no card\.json"):
        checkpoint.read_card(tmp_path)
    (tmp_path / "card.json").write_text('{"step": 1')
    with pytest.raises(UserError, match=r"card\.json is damaged"):
        checkpoint.read_card(tmp_path)
    with pytest.raises(UserError, match="there is no file"):
        checkpoint.read_tensors(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:4], lambda b: b"", lambda b: b"x" * 99]
)
def test_truncated_and_corrupt_weights(damage, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"x": torch.arange(100.0)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="truncated or damaged"):
        checkpoint.read_tensors(path)


def test_weights_of_another_model(tmp_path):
    gpt, ldlm = (
        checkpoint.trained_state(tiny.MODELS[model_type]()) for model_type in ("gpt", "ldlm")
    )
    with pytest.raises(UserError, match="checkpoint of another model"):
        checkpoint.fit(tiny.tiny_gpt(), ldlm, "here")
    with pytest.raises(
        UserError,
        match=r"here does not fit .* embedding\.weight has shape \(7, 16\), not \(20, 16\)",
    ):
        checkpoint.fit(tiny.tiny_gpt(), {**gpt, "embedding.weight": torch.zeros(7, 16)}, "here")


def test_a_config_becomes_json():
    card = checkpoint.config_card(tiny.MODELS["ldlm"]().config)
    assert (
        json.loads(json.dumps(card)) == card
        and card["recipe"]["warmup"] == tiny.RECIPES["ldlm"].warmup
    )
