"""Explorers: state to arrays is a pure function; a value changes the picture without a browser; frames stay few."""

import math

import pytest
import torch

from minildm import UserError
from minildm.dynamics.records import Trajectory
from minildm.viz.explorers import TrajectoryExplorer
from minildm.viz.frames import FrameStack
from minildm.viz.scenes import flow_of, moment_of, plane_of, scene_of

WORDS = ["<pad>", "<bos>", "<eos>", "fox", "owl", "bear"]


def path(seed: int, steps: int, texts: int = 3) -> Trajectory:
    """Straight lines from noise to data, with made-up words."""
    rng = torch.Generator().manual_seed(seed)
    z0, z1 = torch.randn(2, texts, 4, 5, generator=rng)
    t = torch.linspace(0, 1, steps + 1)
    states = (1 - t)[:, None, None, None] * z0 + t[:, None, None, None] * z1
    tokens = torch.randint(1, len(WORDS), (steps + 1, texts, 4), generator=rng)
    tokens[..., -1] = 0
    return Trajectory(t, states, states, tokens, torch.rand(steps + 1, texts, 4, generator=rng))


def log_snr(t):
    return 2 * (t.log() - (1 - t).log())


def cloud():
    return torch.randn(40, 4, 5, generator=torch.Generator().manual_seed(9)) * torch.linspace(3, 1, 20).reshape(4, 5)


def scene(steps=10):
    data = cloud()
    return scene_of(path(0, steps), data, plane_of(data), log_snr, lambda ids: [WORDS[i] for i in ids])


def explorer(log=None):
    def resample(seed, solver, steps):
        if log is not None:
            log.append((seed, solver, steps))
        return path(seed, steps)

    return TrajectoryExplorer(resample, cloud(), log_snr, lambda ids: [WORDS[i] for i in ids],
                              solvers=("ddim", "euler"), steps=8)


def test_plane_is_orthonormal_and_holds_the_most_variance():
    data = cloud().flatten(1)
    directions = plane_of(cloud())
    assert torch.allclose(directions.T @ directions, torch.eye(2), atol=1e-5)
    best = torch.linalg.eigvalsh(torch.cov(data.T)).flip(0)[:2].sum()
    assert torch.allclose((data @ directions).var(0).sum(), best, rtol=1e-4)


def test_moment_of_a_straight_path():
    record, here = path(0, 10), moment_of(scene(), 4, 1)
    whole = (record.states[-1] - record.states[0])[1]
    assert here.t == pytest.approx(0.4) and here.tails.shape == (5, 3, 2)
    assert here.speed == pytest.approx(float(whole.pow(2).mean().sqrt()), rel=1e-4)
    assert here.distance == pytest.approx(0.6 * float(whole.pow(2).mean().sqrt()), rel=1e-4)
    assert here.log_snr == pytest.approx(2 * math.log(0.4 / 0.6), rel=1e-4)
    assert torch.allclose(here.velocity[1], whole.flatten() @ plane_of(cloud()), atol=1e-3)


def test_words_are_marked_where_they_change():
    record, here = path(0, 10), moment_of(scene(), 4, 1)
    assert here.words == [WORDS[i] for i in record.tokens[4, 1]]
    assert here.changed.tolist() == (record.tokens[4, 1] != record.tokens[3, 1]).tolist()
    assert not moment_of(scene(), 0, 1).changed.any()


def test_flow_of_one_point_heads_to_it_and_of_pure_noise_to_the_mean():
    places = torch.tensor([[0.0, 0.0], [2.0, -1.0]])
    one = torch.tensor([[3.0, 4.0]])
    assert torch.allclose(flow_of(one, places, 0.0), one - places)
    data = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(flow_of(data, places, -40.0), data.mean(0) - places, atol=1e-5)
    assert torch.allclose(flow_of(data, data[:3], 12.0), torch.zeros(3, 2), atol=0.05)


def test_each_control_changes_the_page():
    live, pages = explorer().live(), []
    for control, value in ((live.time, 3), (live.text, 2), (live.seed, 7), (live.solver, "euler"), (live.steps, 16)):
        before = live.view.value + live.style.value
        control.value = value
        pages.append(live.view.value + live.style.value)
        assert control is live.solver or pages[-1] != before, control.description
    assert live.time.max == 16 and live.time.value == 6


def test_runs_are_computed_once():
    log: list = []
    live = explorer(log).live()
    live.seed.value = 1
    live.seed.value = 0
    live.time.value = 5
    assert log == [(0, "ddim", 8), (1, "ddim", 8)]


def test_frames_hold_the_pages_and_are_few():
    stack = explorer().frames(texts=2, moments=5)
    rows = stack.stack.children
    assert len(rows) == 2 and [len(row.children) for row in rows] == [5, 5]
    assert "t = 0.000" in rows[0].children[0].value and "t = 1.000" in rows[1].children[4].value
    with pytest.raises(UserError, match="at most"):
        FrameStack([[""] * 42])


def test_figure_has_a_plane_texts_and_three_curves():
    figure = explorer().figure(moments=4)
    assert len(figure.axes) == 1 + 4 + 3
