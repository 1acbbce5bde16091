"""The explorer of kicked texts: its state is right without a picture, and every knob changes the page."""

import pytest
import torch

from minildm.control.feedback import Kick
from minildm.dynamics.records import Trajectory
from minildm.viz.scenes import plane_of
from minildm.viz.text_kicks import MOMENTS, TIMES, arrows, explorer
from minildm.viz.text_scenes import HIDDEN, PATHS, began, kick_scene, spoken_at

WORDS = ["<pad>", "<bos>", "<eos>", "<mask>", "fox", "owl", "bear", "cat"]
STEPS, TEXTS, N = 16, 4, 5


def pieces(ids: list[int]) -> list[str]:
    return [WORDS[i] for i in ids]


def log_snr(t):
    return 2 * (t.log() - (1 - t).log())


class Straight:
    """A writer whose plan is a straight line; its closed loop forgets the push, and its replay keeps it."""

    def __init__(self, seed: int, latent: bool = True):
        rng = torch.Generator().manual_seed(seed)
        self.cloud = torch.randn(40, N, 3, generator=rng) * torch.linspace(3, 1, 15).reshape(N, 3)
        self.z0, self.z1 = torch.randn(2, TEXTS, N, 3, generator=rng)
        self.words = torch.randint(3, len(WORDS), (STEPS + 1, TEXTS, N), generator=rng)
        self.log_snr, self.asked = log_snr if latent else None, []

    def kick(self, moment, size, direction):
        self.asked.append((moment, size, direction))
        t = torch.linspace(0, 1, STEPS + 1)
        plan = self.z0 + t[:, None, None, None] * (self.z1 - self.z0)
        at, rng = round(moment * STEPS), torch.Generator().manual_seed(direction)
        push = size * torch.randn(plan.shape[1:], generator=rng)
        left = ((t >= t[at]) * (1 - t) / (1 - t[at]))[:, None, None, None]
        kept, other, sure = (t >= t[at]).float()[:, None, None, None], self.words.clone(), torch.rand(self.words.shape)
        other[at:, :, :int(size)] = 4 + (other[at:, :, :int(size)] - 3) % 4
        paths = [Trajectory(t, plan + d * push, None, w, sure) for d, w in ((0, self.words), (left, other), (kept, other))]
        return Kick(*paths, at, (plan, plan))

    def pieces(self, ids):
        return pieces(ids)


def scene(moment=0.5, size=1, writer=None):
    writer = writer or Straight(0)
    knobs = (moment, size, 0)
    return kick_scene(writer.kick(*knobs), "straight", knobs, writer.cloud, plane_of(writer.cloud), writer.log_snr, pieces)


def made():
    return explorer({"straight": Straight(0), "words": Straight(1, latent=False)})


def test_distances_are_those_of_the_push():
    writer, here = Straight(0), scene(0.25, 2)
    push = 2 * torch.randn(TEXTS, N, 3, generator=torch.Generator().manual_seed(0))
    size = push.flatten(1).square().mean(1).sqrt()
    assert here.at == 4 and (here.distance[:, :4] == 0).all()
    assert torch.allclose(here.distance[1, 4:], size.expand(13, TEXTS))
    assert torch.allclose(here.distance[0, 4:], size * (1 - here.clock[4:, None]) / 0.75, atol=1e-6)
    straight = (writer.z0 + 0.5 * (writer.z1 - writer.z0)).flatten(1) @ plane_of(writer.cloud)
    assert torch.allclose(here.paths[0, 8], straight, atol=1e-5)


def test_other_words_are_those_that_differ_from_the_plan():
    writer = Straight(0)
    paths, here = writer.kick(0.5, 2, 0), scene(0.5, 2)
    differ = paths.closed.tokens != paths.plan.tokens
    assert torch.equal(here.differs[1], differ) and not here.differs[0].any()
    assert torch.allclose(here.other[0], differ.sum(-1) / N)
    assert [began(here, path) for path in range(len(PATHS))] == [0, 8, 8]


def test_what_is_spoken_is_of_the_path_the_time_and_the_text():
    shown = made().at(time=0.75, text=2, size=2)
    said, plan = spoken_at(shown, 1), spoken_at(shown, 0)
    assert shown.k == 12 and said.changed[:2].all() and not said.changed[2:].any()
    wanted = [HIDDEN if word == "<mask>" else word for word in pieces(Straight(0).words[12, 2].tolist())]
    assert plan.words == wanted and not plan.changed.any()


def test_a_kick_of_size_zero_shows_three_equal_paths():
    here = scene(size=0)
    assert torch.equal(here.paths[0], here.paths[1]) and (here.distance == 0).all() and not here.differs.any()


def test_words_have_no_flow():
    places, flow = arrows(scene(), 8)
    assert places.shape == flow.shape and flow.norm(dim=1).max() == pytest.approx(1.0, abs=1e-5)
    assert arrows(scene(writer=Straight(1, latent=False)), 8) is None


def test_every_knob_changes_the_page_and_a_kick_is_computed_once():
    explored = made()
    live = explored.live()
    moves = (("time", TIMES[9]), ("text", 2), ("moment", 0.25), ("size", 2), ("direction", 1), ("model", "words"))
    for name, value in moves:
        before = live.view.value
        live.knobs[name].value = value
        assert live.view.value != before, name
    for name, value in (("time", 1.0), ("text", 0), ("model", "straight"), ("direction", 0), ("size", 1), ("moment", 0.5)):
        live.knobs[name].value = value
    asked = explored.writers["straight"].asked
    assert len(asked) == len(set(asked)) and (0.5, 1, 0) in asked


def test_the_page_tells_whether_the_push_has_come():
    view, _ = made().view("page", moment=0.5)
    assert "not pushed yet" in view.page(7) and "pushed at t = 0.50" in view.page(8)
    assert view.page(8).count("<circle") == 3 + 4 and view.page(7).count("<circle") == 1 + 4


@pytest.mark.parametrize("row", ["moment", "model"])
def test_frames_are_pages_from_early_to_late(row):
    stack = made().frames("time", row)
    rows = stack.stack.children
    assert len(rows) == len(MOMENTS if row == "moment" else ("straight", "words"))
    assert "t = 0.000" in rows[0].children[0].value and "t = 1.000" in rows[0].children[-1].value
    if row == "moment":
        assert ["moment = 0.25" in rows[0].children[0].value, "moment = 0.75" in rows[2].children[0].value] == [True, True]


def test_the_figure_has_a_plane_two_curves_and_three_texts():
    figure = made().figure(time=0.75, size=2)
    assert len(figure.axes) == 1 + 2 + 3
    assert len(figure.axes[0].lines) == 3 * 2 + 1 and len(made().figure(time=0.0).axes[0].lines) == 2
