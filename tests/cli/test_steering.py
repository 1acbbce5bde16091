"""Gaps, repairs and guidance on the command line: what they ask of the sampler, and refusals."""

import pytest
import torch

from minildm.cli import main, writing
from minildm.cli.given import target, with_gaps
from minildm.errors import UserError
from minildm.evaluation.editing import HIGH_NLL
from minildm.models.generation import GenerationConfig
from minildm.pretrained import load
from minildm.sampling import Sampler
from minildm.text.tokenizers import BytePairTokenizer, WordTokenizer
from minildm.tokens import BOS, EOS, MASK, PAD
from tests.sampling.draw import draw

from .conftest import TALE

WORDS = WordTokenizer(["a", "fox", "ran", "home"])


@pytest.fixture
def asked(monkeypatch):
    """What `minildm sample` asks of the sampler: a function of the command line."""

    def run(*argv: str) -> dict:
        seen = {}

        class Spy(Sampler):
            def __init__(self, model, config, progress=None):
                seen["config"] = config
                super().__init__(model, config, progress)

            def __call__(self, count, **given):
                seen.update(given, count=count)
                return super().__call__(count, **given)

        monkeypatch.setattr(writing, "Sampler", Spy)
        main(["sample", *argv])
        return seen

    return run


def test_gaps_become_a_mask():
    row, mask = with_gaps("a fox __ home_____", 2, 12, WORDS)
    assert row.tolist() == [[BOS, 4, 5, MASK, MASK, 7, MASK, MASK, EOS, PAD, PAD, PAD]]
    assert torch.equal(mask, row != MASK)


def test_gaps_without_a_size_fill_three_quarters_of_the_length_in_equal_parts():
    for length, sizes in ((16, [4, 4]), (20, [6, 5]), (8, [1, 1])):
        row, mask = with_gaps("____ fox ____ home", None, length, WORDS)
        middle = row[0].tolist().index(5)
        assert [int((~mask)[0, :middle].sum()), int((~mask)[0, middle:].sum())] == sizes
        assert row.shape == (1, length) and (
            int((row != PAD).sum()) == 3 * length // 4 or length == 8
        )


def test_a_gap_may_say_its_own_tokens():
    row, mask = with_gaps("a fox ____{3} home ____ a __{1}", 2, 20, WORDS)
    assert row[0, :13].tolist() == [BOS, 4, 5, MASK, MASK, MASK, 7, MASK, MASK, 4, MASK, EOS, PAD]
    row, mask = with_gaps("____{3} fox ____ home", None, 16, WORDS)
    middle = row[0].tolist().index(5)
    assert [int((~mask)[0, :middle].sum()), int((~mask)[0, middle:].sum())] == [3, 5] and int(
        (row != PAD).sum()
    ) == 12


def test_one_blank_a_token(masked_run, asked):
    given = asked(
        str(masked_run),
        "--count",
        "1",
        "--gap",
        "1",
        "--infill",
        "once at the ____ there lived ____ ____ .",
    )
    assert given["prompt"][0, :12].tolist().count(MASK) == 3 == int((~given["observed"]).sum())


def test_gaps_between_byte_pairs_keep_the_space_before_a_word():
    pairs = BytePairTokenizer.train(["a fox ran home"], 270)
    row, mask = with_gaps("a fox ____ home", 1, 64, pairs)
    assert pairs.decode(row[0, mask[0]].tolist()) == "a fox home"


def test_a_target_is_one_token():
    pairs = BytePairTokenizer.train(["a fox ran home to a fox"] * 9, 300)
    for tokenizer, word in ((WORDS, "fox"), (pairs, "fox")):
        i = min(tokenizer.encode(f" {word}"), tokenizer.encode(word), key=len)[0]
        log_p = torch.full((1, 2, tokenizer.size), -9.0)
        log_p[:, 1, i] = -0.5
        assert target(word, tokenizer)(log_p).item() == pytest.approx(0.5, abs=1e-3)
    for word, count in (("fox ran", 2), ("", 0)):
        with pytest.raises(UserError, match=f"is {count}: name a word"):
            target(word, WORDS)


def test_every_model_type_that_can_fills_gaps_and_keeps_what_is_given(
    masked_run, ldlm_run, manta_run, asked, capsys
):
    for run in (masked_run, ldlm_run, manta_run):
        given = asked(
            str(run),
            "--count",
            "3",
            "--steps",
            "2",
            "--length",
            "20",
            "--gap",
            "2",
            "--infill",
            "once at the ____ there lived ____ .",
        )
        words = [text.split() for text in capsys.readouterr().out.strip().split("\n\n")]
        assert len(words) == 3 and given["count"] == 3 and (~given["observed"]).sum() == 4
        observed = [int(i) for i in given["prompt"][given["observed"]] if i > MASK]
        assert load(run, frozen=False).tokenizer.decode(observed) == "once at the there lived ."
        assert all(text[:3] == ["once", "at", "the"] for text in words)


def test_gaps_are_drawn_and_their_neighbors_are_not(manta_run):
    loaded = load(manta_run)
    text = "once at the ____ there lived ____ ."
    prompt, observed = with_gaps(text, 2, 20, loaded.tokenizer)
    given = {"prompt": prompt, "observed": observed}
    rng = torch.Generator().manual_seed(0)
    tokens = draw(loaded.model, 5, rng=rng, steps=2, length=20, **given).tokens
    assert (tokens == prompt)[:, observed[0]].all()


def test_repairs_are_versions_of_each_paragraph(ldlm_run, manta_run, asked, tales, capsys):
    for run in (ldlm_run, manta_run):
        given = asked(
            str(run), "--count", "3", "--steps", "2", "--repair", str(tales), "--start", "0.7"
        )
        assert len(capsys.readouterr().out.strip("\n").split("\n\n")) == 6 == given["count"]
        tokenizer = load(run, frozen=False).tokenizer
        texts = [tokenizer.decode(row) for row in given["prompt"].tolist()]
        assert (
            texts == [f"{TALE} tess was happy ."] * 3 + [TALE] * 3 and given["config"].start == 0.7
        )
        assert (
            given["prompt"].shape == (6, 64)
            and given["prompt"][0, 0] == BOS
            and (given["prompt"] == EOS).any(1).all()
        )


def test_without_a_fraction_doubtful_words_are_repaired_and_the_others_kept(
    masked_run, ldlm_run, manta_run, asked, tales
):
    for run in (masked_run, ldlm_run, manta_run):
        given = asked(str(run), "--count", "2", "--steps", "2", "--repair", str(tales))
        loaded = load(run)
        rows = given["prompt"][::2]
        assert torch.equal(
            given["observed"][::2],
            loaded.model.token_nll(rows, torch.Generator().manual_seed(0)) <= HIGH_NLL,
        )
        assert (
            given["observed"].shape == (4, 64)
            and given["observed"][:, 0].all()
            and not given["config"].start
        )


def test_guidance_has_a_target_and_a_scale(ldlm_run, manta_run, asked, capsys):
    for run in (ldlm_run, manta_run):
        given = asked(
            str(run),
            "--count",
            "1",
            "--steps",
            "2",
            "--guide",
            "happy",
            "--guidance-scale",
            "2.5",
            "--prompt",
            "once at",
        )
        i = load(run, frozen=False).tokenizer.encode("happy")[0]
        log_p = torch.full((1, 3, 265), -9.0)
        log_p[:, 1, i] = -0.25
        config = given["config"]
        assert config.guidance_scale == 2.5
        assert config.guidance_target(log_p).item() == pytest.approx(0.25, abs=1e-3)
        assert given["prompt"].shape == (1, 3) and "observed" not in given and not config.start


def test_a_target_is_tried_again_for_the_texts_without_it(manta_run, capsys, monkeypatch):
    counts = []
    draw_once = Sampler.draw

    def counted(sampler, count, *given):
        counts.append(count)
        return draw_once(sampler, count, *given)

    monkeypatch.setattr(Sampler, "draw", counted)
    main(
        [
            "sample",
            str(manta_run),
            "--count",
            "3",
            "--steps",
            "2",
            "--guide",
            "happy",
            "--num-tries",
            "4",
        ]
    )
    texts = capsys.readouterr().out.strip("\n").split("\n\n")
    assert (
        len(texts) == 3 == counts[0]
        and 1 < len(counts) <= 4
        and counts == sorted(counts, reverse=True)
    )
    assert len(counts) == 4 or all("happy" in text.split() for text in texts)


def test_only_what_was_asked_for_is_passed_on(gpt_run, masked_run, ldlm_run, manta_run, asked):
    own = {gpt_run: {"prompt"}, masked_run: {"prompt"}, ldlm_run: set(), manta_run: set()}
    for run, names in own.items():
        given = asked(str(run), "--count", "1")
        assert given.keys() == names | {"rng", "count", "record", "config"}
        assert given["config"] == GenerationConfig()
    flags = "--temperature 0 --offset 0 --steps 3 --solver euler".split()
    config = asked(str(manta_run), "--count", "1", *flags)["config"]
    assert config == GenerationConfig(temperature=0.0, offset=0.0, steps=3, solver="euler")
    for run in (gpt_run, masked_run):
        assert asked(str(run), "--count", "1", "--top-p", "0.5")["config"].top_p == 0.5
