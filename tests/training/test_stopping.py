"""Ctrl-C at any moment: the step is made and saved, a second one stops at once, and what was saved goes on exactly."""

import signal
import threading

import pytest

from minildm.training import checkpoint, loop
from minildm.training.checkpoint import steps_saved
from minildm.training.resume import progress
from minildm.training.stopping import patient

from . import tiny
from .test_resume import assert_same


def press() -> None:
    """Ctrl-C, as the terminal sends it."""
    signal.raise_signal(signal.SIGINT)


def stopped(trainer, evaluate=tiny.score) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(evaluate, quiet=True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def at(trainer, step: int, times: int = 1) -> None:
    """Press while a step is made."""
    one_step = trainer.one_step

    def pressed(forward):
        if trainer.step == step:
            for _ in range(times):
                press()
        return one_step(forward)

    trainer.one_step = pressed


@pytest.fixture
def whole(tmp_path):
    tiny.make_trainer("gpt", tmp_path / "whole").fit(tiny.score, quiet=True)
    return tmp_path / "whole"


@pytest.mark.parametrize("step", [0, 4, 7])
def test_the_step_is_made_and_saved_and_the_run_goes_on_exactly(step, tmp_path, whole, capfd):
    trainer = tiny.make_trainer("gpt", tmp_path / "run")
    at(trainer, step)
    stopped(trainer)
    assert (
        trainer.saved == trainer.step == step + 1
        and steps_saved(tmp_path / "run")[-1].name == f"step_{step + 1:07d}"
    )
    assert (
        "stopping after this step, then saving; Ctrl-C again stops at once"
        in capfd.readouterr().err
    )
    again = tiny.make_trainer("gpt", tmp_path / "run")
    assert again.resume() and again.step == step + 1
    again.fit(tiny.score, quiet=True)
    assert_same(tmp_path / "run", whole)


def test_a_second_one_stops_at_once_and_leaves_the_checkpoint_before(tmp_path, whole):
    trainer = tiny.make_trainer("gpt", tmp_path / "run")
    at(trainer, 7, times=2)
    stopped(trainer)
    assert trainer.saved == 6 and [p.name for p in steps_saved(tmp_path / "run")] == [
        "step_0000004",
        "step_0000006",
    ]
    again = tiny.make_trainer("gpt", tmp_path / "run")
    again.resume()
    again.fit(tiny.score, quiet=True)
    assert_same(tmp_path / "run", whole)


def test_during_an_evaluation_it_is_finished_first(tmp_path, whole):
    trainer = tiny.make_trainer("gpt", tmp_path / "run")

    def evaluate(model, step):
        if step == 4:
            press()
        return tiny.score(model, step)

    stopped(trainer, evaluate)
    assert (
        trainer.saved == 4 and progress(steps_saved(tmp_path / "run")[-1])["best"] == "step_0000004"
    )
    again = tiny.make_trainer("gpt", tmp_path / "run")
    again.resume()
    again.fit(tiny.score, quiet=True)
    assert_same(tmp_path / "run", whole)


def test_twice_during_an_evaluation_puts_the_weights_back(tmp_path):
    trainer = tiny.make_trainer("gpt", tmp_path / "run")

    def evaluate(model, step):
        press()
        press()

    stopped(trainer, evaluate)
    trainer.evaluate(tiny.score)
    again = tiny.make_trainer("gpt", tmp_path / "run")
    again.resume()
    again.one_step(again.model)
    own, other = (checkpoint.trained_state(t.model) for t in (trainer, again))
    assert trainer.step == again.step == 4 and all(own[name].equal(other[name]) for name in own)


@pytest.mark.parametrize("times", [1, 2])
def test_while_saving(times, tmp_path, monkeypatch):
    """Once: the checkpoint becomes whole. Twice: nothing of it is left."""
    save_file = checkpoint.save_file

    def pressed(tensors, path):
        save_file(tensors, path)
        if path.stem == "ema" and path.parent.name == "step_0000006.tmp":
            for _ in range(times):
                press()

    monkeypatch.setattr(checkpoint, "save_file", pressed)
    trainer = tiny.make_trainer("gpt", tmp_path / "run")
    stopped(trainer)
    names = sorted(p.name for p in (tmp_path / "run").iterdir() if p.is_dir())
    assert names == (
        ["step_0000004", "step_0000006"] if times == 1 else ["step_0000003", "step_0000004"]
    )
    again = tiny.make_trainer("gpt", tmp_path / "run")
    assert again.resume() and again.step == trainer.saved == (6 if times == 1 else 4)


def test_after_the_last_step_there_is_nothing_to_stop(tmp_path):
    trainer = tiny.make_trainer("gpt", tmp_path / "run")
    at(trainer, 11)
    trainer.fit(tiny.score, quiet=True)
    assert trainer.saved == 12


def test_outside_of_the_main_thread_nothing_changes():
    found = []

    def run():
        with patient(True) as asked:
            found.append((asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [([], signal.default_int_handler)]


def test_a_text_is_shown_at_evaluations_and_every_minute(tmp_path, capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 25))
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(seconds))
    trainer = tiny.make_trainer("gpt", tmp_path / "run", eval_every=10)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer.fit(
        lambda model, step: {"score": 1.0, "token_accuracy": 0.25, "text": f"evaluated {step}"},
        write=lambda model: f"a text after {trainer.step}",
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines == [
        "step 3",
        "    a text after 3",
        "step 6",
        "    a text after 6",
        "step 9",
        "    a text after 9",
        "step 10: token accuracy 0.25",
        "    evaluated 10",
        "step 12: token accuracy 0.25",
        "    evaluated 12",
    ]
    quiet = tiny.make_trainer("gpt", tmp_path / "quiet", eval_every=10)
    assert all(quiet.model.state_dict()[k].equal(v) for k, v in before.items())
    quiet.fit(quiet=True)
    assert all(quiet.model.state_dict()[k].equal(v) for k, v in trainer.model.state_dict().items())


def test_a_text_is_shown_after_it_is_saved(tmp_path, monkeypatch):
    def unwritable(text):
        raise UnicodeEncodeError("ascii", text, 0, 1, "cannot be shown")

    monkeypatch.setattr(loop.tqdm, "write", unwritable)
    trainer = tiny.make_trainer("gpt", tmp_path / "run")
    with pytest.raises(UnicodeEncodeError):
        trainer.fit(lambda model, step: {"text": "a text"})
    assert steps_saved(tmp_path / "run")[-1].name == "step_0000004"
