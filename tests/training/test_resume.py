"""A run that is killed and resumed ends as if it had never been killed."""

import json
import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minildm.errors import UserError
from minildm.training.checkpoint import steps_saved
from minildm.training.config import TrainConfig, learning_rate
from minildm.training.distributed import DistributedContext
from minildm.training.metrics import RENAMED_LOG, read_metrics

from . import tiny

FORKS = multiprocessing.get_context("forkserver")  # of one process that imports torch for all
FORKS.set_forkserver_preload(["minildm.models.registry", "minildm.training.loop"])
FILES = ("model", "ema", "optimizer")
RENAMED_FILES = {"model": "model", "ema": "average"}  # -> as they were


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in the children: sums over several threads may round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    runs = {
        model_type: tmp_path_factory.mktemp(model_type) for model_type in ("gpt", "ldlm", "running")
    }
    for model_type, run in runs.items():
        tiny.make_trainer(model_type, run).fit(tiny.score, quiet=True)
    return runs


def dead(task, *given) -> None:
    """Run a task in a process of its own, which must kill itself."""
    child = FORKS.Process(target=task, args=given)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def lines(run: Path) -> list[dict]:
    """The metrics without what a timer measured."""
    return [
        {k: v for k, v in line.items() if k not in ("tokens_per_s", "tflops")}
        for line in read_metrics(run / "metrics.jsonl")
    ]


def assert_same(run: Path, other: Path) -> None:
    """Every byte of the weights, their average and the optimizer's state; every checkpoint kept; every line."""
    assert [p.name for p in steps_saved(run)] == [p.name for p in steps_saved(other)]
    for saved, twin in zip(steps_saved(run), steps_saved(other)):
        for name in FILES:
            assert (saved / f"{name}.safetensors").read_bytes() == (
                twin / f"{name}.safetensors"
            ).read_bytes(), name
        assert (saved / "card.json").read_text() == (twin / "card.json").read_text()
    assert lines(run) == lines(other)
    assert not list(run.glob("*.tmp"))


def stop_at(trainer, step: int) -> None:
    """Train, and stop in front of a step."""
    one_step = trainer.one_step

    def stops(forward):
        if trainer.step == step:
            raise KeyboardInterrupt
        return one_step(forward)

    trainer.one_step = stops
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(tiny.score, quiet=True)


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("model_type", ["gpt", "ldlm"])
def test_killed_at_any_moment_and_resumed_equals_never_killed(
    model_type, number, tmp_path, never_killed
):
    chance = random.Random(f"{model_type} {number}")
    last, pause = chance.randrange(12), chance.uniform(0, 0.03)
    steps, said = FORKS.Pipe(duplex=False)
    child = FORKS.Process(target=tiny.victim, args=(model_type, tmp_path, said))
    child.start()
    while steps.recv() != last:
        pass
    time.sleep(pause)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL

    trainer = tiny.make_trainer(model_type, tmp_path)
    assert trainer.resume() == bool(steps_saved(tmp_path))
    assert trainer.step in (0, 3, 4, 6, 8, 9, 12)
    trainer.fit(tiny.score, quiet=True)
    assert_same(tmp_path, never_killed[model_type])


def test_killed_while_saving_goes_back_to_the_checkpoint_before(tmp_path, never_killed):
    dead(tiny.dies_saving, "ldlm", tmp_path)
    assert (tmp_path / "step_0000006.tmp" / "ema.safetensors").stat().st_size == 100
    trainer = tiny.make_trainer("ldlm", tmp_path)
    assert trainer.resume() and trainer.step == 4
    trainer.fit(tiny.score, quiet=True)
    assert_same(tmp_path, never_killed["ldlm"])


def test_killed_while_deleting_an_old_checkpoint_deletes_the_rest_of_it(tmp_path, never_killed):
    dead(tiny.dies_pruning, "ldlm", tmp_path)
    trainer = tiny.make_trainer("ldlm", tmp_path)
    assert trainer.resume() and trainer.step == 12
    trainer.fit(tiny.score, quiet=True)
    assert_same(tmp_path, never_killed["ldlm"])


def test_a_running_normalization_resumes_exactly_too(tmp_path, never_killed):
    stop_at(tiny.make_trainer("running", tmp_path), 8)
    second = tiny.make_trainer("running", tmp_path)
    assert second.resume() and second.step == 8
    second.fit(tiny.score, quiet=True)
    assert_same(tmp_path, never_killed["running"])


def test_a_finished_run_has_nothing_left_to_do(tmp_path, never_killed):
    trainer = tiny.make_trainer("gpt", never_killed["gpt"])
    assert trainer.resume() and trainer.step == 12
    before = lines(never_killed["gpt"])
    trainer.fit(tiny.score, quiet=True)
    assert lines(never_killed["gpt"]) == before


def test_another_configuration_is_refused_field_by_field(never_killed):
    for change, said in [
        ({"lr": 2e-3}, r"train\.lr was 0\.001 and is 0\.002"),
        ({"steps": 11}, r"train\.steps was 12 and is 11"),
        ({"steps": 24, "seed": 1}, r"train\.seed was 0 and is 1"),
        ({"seed": 1, "batch": 4}, r"train\.batch was 8 and is 4; train\.seed was 0 and is 1"),
    ]:
        with pytest.raises(
            UserError, match=rf"another configuration \({said}\): repeat its flags and files"
        ):
            tiny.make_trainer("gpt", never_killed["gpt"], **change).resume()


def test_more_steps_go_on(tmp_path):
    """After 6 steps, 6 more of a training of 12; without warm-up, what is seen of the 6 is only their learning rates."""
    tiny.make_trainer("gpt", tmp_path, steps=6).fit(tiny.score, quiet=True)
    longer = tiny.make_trainer("gpt", tmp_path, steps=12)
    assert longer.resume() and longer.step == 6 and longer.planned == 6
    longer.fit(tiny.score, quiet=True)
    again = tiny.make_trainer("gpt", tmp_path, steps=12)
    assert again.resume() and again.step == 12 and again.planned == 12
    rates = [
        line["lr"] for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "step"
    ]
    short, long = (TrainConfig(steps=steps, warmup=4) for steps in (6, 12))
    assert rates == [
        *(learning_rate(step, short) for step in range(6)),
        *(learning_rate(step, long) for step in range(6, 12)),
    ]


@pytest.mark.parametrize("steps", [None, True, "x", [1], 2.0, 0, -1])
def test_a_card_whose_number_of_steps_is_none_is_damaged(steps, tmp_path):
    tiny.make_trainer("gpt", tmp_path, steps=3).fit(tiny.score, quiet=True)
    path = steps_saved(tmp_path)[-1] / "card.json"
    card = json.loads(path.read_text())
    card["config"]["train"]["steps"] = steps
    path.write_text(json.dumps(card))
    with pytest.raises(
        UserError, match=r"card\.json is damaged \(config\.train\.steps is .*\): delete its folder"
    ):
        tiny.make_trainer("gpt", tmp_path, steps=3).resume()


def test_other_contents_and_other_parts_are_refused(never_killed):
    trainer = tiny.make_trainer("gpt", never_killed["gpt"])
    for name in ("corpus", "tokenizer", "frozen"):
        trainer.card = {"config": trainer.card["config"], name: {"sha256": "other"}}
        with pytest.raises(
            UserError,
            match=rf"another configuration \(the contents of {name} are others\): repeat its flags",
        ):
            trainer.resume()
    trainer = tiny.make_trainer("gpt", never_killed["gpt"], context=DistributedContext(0, 2))
    with pytest.raises(
        UserError, match=r"another configuration \(processes x accumulate was 1 and is 2\)"
    ):
        trainer.resume()


def test_a_run_of_an_older_version_goes_on(tmp_path, never_killed):
    """Its files and weights had other names, and its card lacks fields."""
    trainer = tiny.make_trainer("gpt", tmp_path)
    stop_at(trainer, 6)
    (tmp_path / "metrics.jsonl").rename(tmp_path / RENAMED_LOG)
    for folder in steps_saved(tmp_path):
        for name, before in RENAMED_FILES.items():
            path = folder / f"{name}.safetensors"
            tensors = load_file(path)
            path.unlink()
            tensors["mix.taps"] = tensors.pop("conv.kernel")
            save_file(tensors, folder / f"{before}.safetensors")
        card = json.loads((folder / "card.json").read_text())
        del card["config"]["train"]["cuda_graph"]
        (folder / "card.json").write_text(json.dumps(card))
    again = tiny.make_trainer("gpt", tmp_path)
    assert again.resume() and again.step == 6
    again.fit(tiny.score, quiet=True)
    assert_same(tmp_path, never_killed["gpt"])
    assert not (tmp_path / RENAMED_LOG).exists()


def test_nothing_to_resume(tmp_path):
    assert not tiny.make_trainer("gpt", tmp_path).resume()
