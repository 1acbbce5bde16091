"""The trajectory explorer: paths to arrays is a pure function; a value changes the page without a browser; frames stay few."""

import pytest
import torch

from minildm import UserError
from minildm.dynamics.records import Trajectory
from minildm.viz.explorers import TrajectoryExplorer
from minildm.viz.frames import FrameStack
from minildm.viz.knobs import BUSY
from minildm.viz.scenes import (
    HIDDEN,
    PATHS,
    Shown,
    arrows,
    began,
    final_words,
    flow_of,
    plane_of,
    scene_of,
    speeds,
    spoken_at,
    standing,
)
from minildm.viz.words import as_html

WORDS = ["<pad>", "<bos>", "<eos>", "<mask>", "fox", "owl", "bear", "cat"]
STEPS, TEXTS, N = 32, 4, 5


def pieces(ids: list[int]) -> list[str]:
    return [WORDS[i] for i in ids]


def log_snr(t):
    return 2 * (t.log() - (1 - t).log())


class Straight:
    """A writer whose plan is a straight line; its closed loop forgets the push, and its replay keeps it."""

    def __init__(self, seed: int, latent: bool = True):
        rng = torch.Generator().manual_seed(seed)
        self.cloud = torch.randn(40, N, 3, generator=rng) * torch.linspace(3, 1, 15).reshape(N, 3)
        self.log_snr, self.asked = log_snr if latent else None, []
        self.solvers, self.stepped = ("ancestral", "euler") if latent else ("ancestral",), latent

    def ends(self, seed):
        return torch.randn(2, TEXTS, N, 3, generator=torch.Generator().manual_seed(seed))

    def paths(self, prompt="", solver="ancestral", steps=STEPS, seed=0, moment=0.5, size=0.0, direction=0):
        if prompt == "unheard":
            raise UserError("the word <unheard> is not in the vocabulary")
        self.asked.append((prompt, solver, steps, seed, moment, size, direction))
        (z0, z1), t = self.ends(seed + 7 * (solver == "euler")), torch.linspace(0, 1, steps + 1)
        plan = z0 + t[:, None, None, None] * (z1 - z0)
        rng = torch.Generator().manual_seed(seed)
        said, sure = torch.randint(3, len(WORDS), (steps + 1, TEXTS, N), generator=rng), torch.rand(steps + 1, TEXTS, N)
        said[:, :, 0] = 1 if prompt else said[:, :, 0]
        if not size:
            return (Trajectory(t, plan, None, said, sure),), 0
        at, rng = round(moment * steps), torch.Generator().manual_seed(direction)
        push = size * torch.randn(plan.shape[1:], generator=rng)
        left = ((t >= t[at]) * (1 - t) / (1 - t[at]))[:, None, None, None]
        kept, other = (t >= t[at]).float()[:, None, None, None], said.clone()
        other[at:, :, :int(size)] = 4 + (other[at:, :, :int(size)] - 3) % 4
        return tuple(Trajectory(t, plan + d * push, None, w, sure) for d, w in ((0, said), (left, other), (kept, other))), at

    def pieces(self, ids):
        return pieces(ids)


def scene(writer=None, **asked):
    writer = writer or Straight(0)
    return scene_of(*writer.paths(**asked), "straight", writer.cloud, writer.log_snr, pieces)


def explorer(**start) -> TrajectoryExplorer:
    return TrajectoryExplorer({"straight": Straight(0), "words": Straight(1, latent=False)}, **start)


def test_plane_holds_the_way_and_across_it_the_most_variance():
    cloud, way = Straight(0).cloud, torch.randn(15, generator=torch.Generator().manual_seed(3))
    data, directions = cloud.flatten(1), plane_of(cloud, way)
    assert torch.allclose(directions.T @ directions, torch.eye(2), atol=1e-5)
    assert torch.allclose(way @ directions, torch.tensor([float(way.norm()), 0]), atol=1e-5)
    across = torch.eye(15) - torch.outer(way, way) / way.square().sum()
    best = torch.linalg.eigvalsh(torch.cov((data @ across).T))[-1]
    assert torch.allclose((data @ directions[:, 1]).var(), best, rtol=1e-4)


def test_path_and_data_both_fill_the_plane():
    """Latents of std 1 that spread most in a few of many directions: neither the way nor the cloud is a knot."""
    rng = torch.Generator().manual_seed(0)
    cloud = torch.randn(40, N, 60, generator=rng) * 0.7
    cloud[:, 0, :2] *= 8
    t, starts = torch.linspace(0, 1, 9), torch.randn(TEXTS, N, 60, generator=rng)
    states = starts + t[:, None, None, None] * (cloud[:TEXTS] - starts)
    tokens = torch.full((9, TEXTS, N), 4)
    here = scene_of((Trajectory(t, states, None, tokens, torch.ones(tokens.shape)),), 0, "latents", cloud, log_snr, pieces)
    both = torch.cat((here.paths.flatten(0, 2), here.cloud))
    span = both.max(0).values - both.min(0).values
    assert (here.paths[0, -1].mean(0) - here.paths[0, 0].mean(0))[0] > 0.4 * span[0]
    assert here.cloud[:, 1].max() - here.cloud[:, 1].min() > 0.6 * span[1]


def test_words_stand_from_their_last_change():
    tokens = torch.tensor([[[[4, 5]], [[4, 6]], [[4, 6]], [[4, 7]], [[4, 7]]]])  # one path and text, five times
    shares = standing(tokens, torch.tensor([0.0, 0.2, 0.5, 0.6, 1.0]))[0, :, 0]
    assert torch.allclose(shares[:, 0], torch.tensor([0.0, 1, 1, 1, 1]))
    assert torch.allclose(shares[:, 1], torch.tensor([0.0, 0, 0.6, 0, 0.4]))


def test_noise_is_not_shaded_however_sure_its_decoder_is():
    """At the start no word has stood; and what is not written yet never is shaded."""
    shown = explorer().at(time=0.0)
    start = as_html(spoken_at(shown, 0))
    assert start.count("<i ") == start.count('class="c0') == N
    moments = [as_html(spoken_at(Shown(shown.scene, text, k), 0)) for k in range(STEPS + 1) for text in range(TEXTS)]
    hidden = [piece for page in moments for piece in page.split("<i ") if HIDDEN in piece]
    assert hidden and all('"c0' in piece for piece in hidden) and any('"c7' in page for page in moments)


def test_the_curves_of_a_straight_path():
    writer, here = Straight(0), scene()
    z0, z1 = writer.ends(0)
    whole = (z1 - z0).flatten(1).square().mean(1).sqrt()
    snr, speed, distance = here.curves.values()
    assert torch.allclose(speed, whole.expand_as(speed), rtol=1e-4)
    assert torch.allclose(distance[0], whole * (1 - here.clock[:, None]), atol=1e-5)
    assert torch.allclose(snr[0, 1:-1], log_snr(here.clock[1:-1, None]).clamp(-12, 12).expand(-1, TEXTS))
    directions = plane_of(writer.cloud, (z1 - z0).mean(0).flatten())
    assert torch.allclose(here.paths[0, 8], (z0 + 0.25 * (z1 - z0)).flatten(1) @ directions, atol=1e-5)


def test_texts_of_words_show_how_many_stand_and_no_flow():
    tokens = torch.tensor([[[[4, 3, 3, 0]], [[4, 5, 3, 0]], [[4, 6, 5, 0]]]])
    assert torch.allclose(final_words(tokens)[0, :, 0], torch.tensor([1 / 3, 1 / 3, 1]))
    here = scene(Straight(1, latent=False))
    assert next(iter(here.curves)) == "final words" and not len(arrows(here, 8)[0])
    places, flow = arrows(scene(), 8)
    assert places.shape == flow.shape and flow.norm(dim=1).max() == pytest.approx(1.0, abs=1e-5)


def test_speeds_leave_the_jump_of_a_kick_out():
    states = torch.zeros(3, 5, 1, 2)
    states[:, 1:] += torch.arange(1.0, 5)[:, None, None]
    states[1:, 2:] += 100
    assert torch.allclose(speeds(states, torch.linspace(0, 1, 5), 2), torch.full((3, 5, 1), 4.0))


def test_words_are_marked_where_they_change():
    writer = Straight(0)
    (plan,), _ = writer.paths()
    here = scene(writer)
    assert here.words[0][4][1] == [HIDDEN if w == "<mask>" else w for w in pieces(plan.tokens[4, 1].tolist())]
    assert torch.equal(here.marked[0, 1:], plan.tokens[1:] != plan.tokens[:-1]) and not here.marked[0, 0].any()


def test_distances_to_the_plan_are_those_of_the_push():
    here = scene(moment=0.25, size=2)
    push = 2 * torch.randn(TEXTS, N, 3, generator=torch.Generator().manual_seed(0))
    size, distance = push.flatten(1).square().mean(1).sqrt(), here.curves["distance to the plan"]
    assert here.at == 8 and (distance[:, :8] == 0).all() and (distance[0] == 0).all()
    assert torch.allclose(distance[2, 8:], size.expand(25, TEXTS), atol=1e-5)
    assert torch.allclose(distance[1, 8:], size * (1 - here.clock[8:, None]) / 0.75, atol=1e-5)


def test_other_words_are_those_that_differ_from_the_plan():
    writer = Straight(0)
    (plan, closed, _), _ = writer.paths(size=2)
    here = scene(writer, size=2)
    differ = closed.tokens != plan.tokens
    assert torch.equal(here.marked[1], differ) and not here.marked[0].any()
    assert torch.allclose(here.curves["share of other words"][1], differ.sum(-1) / N)
    assert [began(here, path) for path in range(len(PATHS))] == [0, 16, 16]


def test_what_is_spoken_is_of_the_path_the_time_and_the_text():
    shown = explorer().at(time=0.75, text=2, size=2)
    said, plan = spoken_at(shown, 1), spoken_at(shown, 0)
    (truth, *_), _ = Straight(0).paths(size=2)
    assert shown.k == 24 and said.marked[:2].all() and not said.marked[2:].any()
    assert plan.words == [HIDDEN if word == "<mask>" else word for word in pieces(truth.tokens[24, 2].tolist())]


def test_flow_of_one_point_heads_to_it_and_of_pure_noise_to_the_mean():
    places = torch.tensor([[0.0, 0.0], [2.0, -1.0]])
    one = torch.tensor([[3.0, 4.0]])
    assert torch.allclose(flow_of(one, places, 0.0), one - places)
    data = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(flow_of(data, places, -40.0), data.mean(0) - places, atol=1e-5)
    assert torch.allclose(flow_of(data, data[:3], 12.0), torch.zeros(3, 2), atol=0.05)


def test_every_knob_changes_the_page_and_a_run_is_computed_once():
    explored = explorer(size=1)
    live = explored.live()
    moves = {"time": 8, "text": 2, "moment": 0.25, "size": 2, "direction": 1, "seed": 7, "steps": 8, "prompt": "fox",
             "solver": "euler", "model": "words"}
    assert set(moves) == set(explored.knobs)
    for name, value in moves.items():
        before = live.view.value
        live.knobs[name].value = value
        assert live.view.value != before, name
    live.knobs["model"].value = "straight"
    for name, value in explored.start.items():
        live.knobs[name].value = value if name != "time" else live.knobs[name].max
    asked = explored.writers["straight"].asked
    assert len(asked) == len(set(asked)) and ("", "ancestral", 32, 0, 0.5, 1, 0) in asked


def test_only_what_a_model_has_can_be_chosen():
    live = explorer(solver="euler").live()
    assert live.knobs["solver"].options == ("ancestral", "euler") and live.knobs["solver"].value == "euler"
    assert not live.knobs["solver"].disabled and not live.knobs["steps"].disabled
    live.knobs["model"].value = "words"
    assert live.knobs["solver"].value == "ancestral" and live.knobs["solver"].disabled and live.knobs["steps"].disabled


def test_a_prompt_of_unknown_words_is_told_and_loses_nothing():
    live = explorer().live()
    before = live.view.value
    live.knobs["prompt"].value = "unheard"
    assert live.view.value == before and "the word &lt;unheard&gt; is not in the vocabulary" in live.note.value
    live.knobs["prompt"].value = ""
    assert live.view.value == before and live.note.value == ""


def test_slider_and_heading_name_the_same_time():
    """Whatever the steps and the model, and with one stop for each step."""
    live = explorer().live()
    for name, value in (("steps", 8), ("steps", 64), ("model", "words")):
        live.knobs[name].value = value
        time = live.knobs["time"]
        assert live.play.max == time.max == (value if name == "steps" else 64)
        for index in (1, 5, time.max):
            time.value = index
            assert live.clock.value == f"t = {index / time.max:.3f}"
            heading = f"<b>{live.knobs['model'].value}, {live.clock.value}</b>, step {index} of {time.max},"
            assert heading in live.view.value


def test_more_steps_keep_the_time():
    live = explorer().live()
    assert live.clock.value == "t = 1.000"
    live.knobs["time"].value = 8
    live.knobs["steps"].value = 64
    assert (live.knobs["time"].value, live.play.value, live.clock.value) == (16, 16, "t = 0.250")


def test_a_sign_says_that_it_computes():
    """It is there before the state is asked for, and gone afterwards."""
    explored, seen = explorer(), []
    live = explored.live()
    state = explored.state
    explored.state = lambda **knobs: seen.append(live.note.value) or state(**knobs)
    live.knobs["seed"].value = 3
    assert seen == [BUSY] and live.note.value == ""


def test_the_disturbance_has_its_own_group_and_units():
    live = explorer(size=1).live()
    group = live.box.children[2]
    assert group.children[1].children == tuple(live.knobs[name] for name in ("moment", "size", "direction"))
    assert live.knobs["size"].description == "size (std)" and not live.knobs["moment"].disabled
    live.knobs["model"].value = "words"
    assert live.knobs["size"].description == "size (words)"
    live.knobs["size"].value = 0
    assert live.knobs["moment"].disabled and live.knobs["direction"].disabled and not live.knobs["size"].disabled


@pytest.mark.parametrize(("size", "names"), [(0, ["real texts", "other texts", "the text on the right"]),
                                             (1, ["real texts", "other texts", *PATHS, "disturbance"])])
def test_page_and_figure_have_a_legend(size, names):
    explored = explorer(size=size)
    view, k = explored.view("page")
    told = [text.get_text() for text in explored.figure().legends[0].get_texts()]
    assert all(f"</i>{name}</span>" in view.page(k) and name in told for name in names)
    assert len(told) == len(names) + 1  # the flow, of a model of latents


def test_the_page_tells_whether_the_push_has_come():
    view, _ = explorer().view("page", moment=0.5, size=1)
    assert "not pushed yet" in view.page(15) and "pushed at t = 0.50" in view.page(16)
    assert view.page(16).count("<circle") == TEXTS + 3 + 9 and view.page(15).count("<circle") == TEXTS + 1 + 3
    alone, _ = explorer().view("page")
    assert "pushed" not in alone.page(16) and alone.page(16).count("<circle") == TEXTS + 1 + 3


@pytest.mark.parametrize("row", ["moment", "model", "text"])
def test_frames_are_pages_from_early_to_late(row):
    made = explorer(size=1)
    rows = made.frames("time", row).stack.children
    assert len(rows) == len(made.knobs[row]) and all(len(one.children) == 21 for one in rows)
    assert "t = 0.000" in rows[0].children[0].value and "t = 1.000" in rows[0].children[-1].value
    if row == "moment":
        assert all(f"disturbed at = {moment}" in rows[i].children[0].value for i, moment in enumerate((0.25, 0.5, 0.75)))
    assert not any("time =" in page.value for page in rows[0].children)  # the heading names it
    with pytest.raises(UserError, match="at most"):
        FrameStack([[""] * 42])


@pytest.mark.parametrize(("size", "texts", "lines"), [(0, 4, TEXTS + 2), (2, 3, TEXTS + 3 * 2 + 1)])
def test_the_figure_has_a_plane_three_curves_and_what_is_said(size, texts, lines):
    figure = explorer().figure(time=0.75, size=size)
    assert len(figure.axes) == 1 + 3 + texts and len(figure.axes[0].lines) == lines
