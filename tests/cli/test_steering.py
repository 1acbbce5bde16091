"""Gaps, repairs and guidance on the command line: what they ask of the sampler, and refusals."""

import shutil

import pytest
import torch

from minildm import pretrained
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

WORDS = WordTokenizer(["a", "fox", "ran", "home"])
TALE = "once at the castle there lived happy tess the fox ."


@pytest.fixture
def tales(tmp_path):
    """A file of two texts, the first of them over two lines."""
    path = tmp_path / "tales.txt"
    path.write_text(f"{TALE}\ntess was happy .\n\n{TALE}\n")
    return path


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


def test_gaps_without_a_size_fill_three_quarters_of_the_length_in_equal_shares():
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


def test_a_wish_is_one_token():
    pairs = BytePairTokenizer.train(["a fox ran home to a fox"] * 9, 300)
    for tokenizer, word in ((WORDS, "fox"), (pairs, "fox")):
        i = min(tokenizer.encode(f" {word}"), tokenizer.encode(word), key=len)[0]
        log_p = torch.full((1, 2, tokenizer.size), -9.0)
        log_p[:, 1, i] = -0.5
        assert target(word, tokenizer)(log_p).item() == pytest.approx(0.5, abs=1e-3)
    for word, count in (("fox ran", 2), ("", 0)):
        with pytest.raises(UserError, match=f"is {count}: name a word"):
            target(word, WORDS)


def test_every_kind_that_can_fills_gaps_and_keeps_what_is_given(
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
        known = [int(i) for i in given["prompt"][given["observed"]] if i > MASK]
        assert load(run, frozen=False).tokenizer.decode(known) == "once at the there lived ."
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


def test_without_a_share_doubtful_words_are_repaired_and_the_others_kept(
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


def test_a_guide_is_a_wish_with_a_strength(ldlm_run, manta_run, asked, capsys):
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


def test_a_wish_is_tried_again_for_the_texts_that_miss_it(manta_run, capsys, monkeypatch):
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


@pytest.mark.parametrize(
    "kind, flags, said",
    [
        (
            "gpt",
            ["--infill", "once ____"],
            "a GPT writes from left to right, around no given tokens: leave out --infill",
        ),
        ("gpt", ["--repair", "FILE"], "name a masked model, an LDLM or a Manta-LM"),
        ("gpt", ["--guide", "happy"], "a GPT has no latents to steer: leave out --guide"),
        ("gpt", ["--offset", "1"], "a GPT has no noise levels with an offset: leave out offset"),
        (
            "masked",
            ["--repair", "FILE", "--start", "0.5"],
            "a masked model has no latents to steer: leave out --start",
        ),
        ("masked", ["--guide", "happy"], "name an LDLM or a Manta-LM"),
        ("masked", ["--offset", "1"], "a masked model has no noise levels with an offset"),
        (
            "masked",
            ["--solver", "euler"],
            "a masked model has no solver 'euler': choose one of ancestral, confidence, margin",
        ),
        ("ldlm", ["--offset", "1"], "an LDLM has no noise levels with an offset"),
        (
            "ldlm",
            ["--entropy-bound", "0.1"],
            "an LDLM has no entropy bound: leave out entropy_bound",
        ),
        (
            "manta",
            ["--entropy-bound", "-1"],
            "a Manta-LM has no entropy bound: leave out entropy_bound",
        ),
        (
            "manta",
            ["--entropy-bound", "0.1"],
            "a Manta-LM has no entropy bound",
        ),
        ("manta", ["--solver", "entropy_bounded"], "a Manta-LM has no solver 'entropy_bounded'"),
        ("manta", ["--offset", "-1"], "the offset -1.0 has no meaning: give a number of 0 or more"),
        ("manta", ["--offset", "nan"], "the offset nan has no meaning"),
        (
            "manta",
            ["--solver", "ddim"],
            "a Manta-LM has no solver 'ddim': choose one of ancestral, euler",
        ),
        ("manta", ["--temperature", "-1"], "the temperature -1.0 has no meaning"),
        ("manta", ["--steps", "0"], "cannot sample in 0 steps"),
        (
            "manta",
            ["--prompt", "once at the castle", "--length", "4"],
            "the prompt has 5 tokens but the text only 4",
        ),
        ("manta", ["--prompt", "a dragon"], "the word 'dragon' is not in the vocabulary"),
        ("masked", ["--infill", "a dragon ____"], "the word 'dragon' is not in the vocabulary"),
        ("manta", ["--guide", "dragon"], "the word 'dragon' is not in the vocabulary"),
        ("manta", ["--guide", "happy tess"], "--guide takes one token, and 'happy tess' is 2"),
        (
            "ldlm",
            ["--guide", "happy", "--guidance-scale", "-1"],
            "the guidance scale -1.0 has no meaning: give a number of 0 or more",
        ),
        (
            "ldlm",
            ["--guide", "happy", "--guidance-scale", "nan"],
            "the guidance scale nan has no meaning",
        ),
        (
            "manta",
            ["--guidance-scale", "2"],
            "--guidance-scale says how strong guidance is: give --guide a token, or leave out --guid",
        ),
        ("gpt", ["--guidance-scale", "2"], "--guidance-scale says how strong guidance is"),
        (
            "manta",
            ["--num-tries", "2"],
            "--num-tries says how often a token is tried for: give --guide a token",
        ),
        (
            "manta",
            ["--guide", "happy", "--num-tries", "0"],
            "0 tries draw nothing: give 1 or more",
        ),
        (
            "ldlm",
            ["--repair", "FILE", "--guide", "happy", "--num-tries", "2"],
            "--repair draws each of its texts once",
        ),
        ("ldlm", ["--guidance-scale", "2"], "--guidance-scale says how strong guidance is"),
        (
            "ldlm",
            ["--guidance-scale", "2", "--repair", "FILE"],
            "--guidance-scale says how strong guidance is",
        ),
        (
            "ldlm",
            ["--start", "0.3"],
            "--start says how much of a text is kept: give --repair a file, or leave out --start",
        ),
        (
            "masked",
            ["--infill", "once at _ the castle"],
            "--infill has no gap: mark each by two underscores or more",
        ),
        ("manta", ["--infill", ""], "--infill has no gap"),
        (
            "ldlm",
            ["--infill", "once ____", "--gap", "0"],
            "a gap of 0 tokens is none: give 1 or more",
        ),
        ("ldlm", ["--infill", "once ____{0}"], "a gap of 0 tokens is none"),
        (
            "ldlm",
            ["--infill", "once ____{999999999}"],
            "1000000002 tokens with its gaps, more than the 64 that fit",
        ),
        (
            "masked",
            ["--steps", "100000"],
            "100000 steps are more than any text needs: give --steps 4096 or fewer",
        ),
        (
            "manta",
            ["--length", "100000"],
            "was trained on texts of 64 tokens and writes at most 1024, not 100000: lower --length",
        ),
        (
            "gpt",
            ["--length", "99999999999999999999"],
            "and writes at most 1024, not 99999999999999999999",
        ),
        ("ldlm", ["--infill", "____", "--length", "100000"], "and writes at most 1024"),
        (
            "gpt",
            ["--count", "1000000000"],
            "1000000000 texts of 64 tokens at a time take too much memory: give --count 1",
        ),
        ("masked", ["--record", "FOLDER"], " is a folder: name a file"),
        (
            "masked",
            ["--record", "BELOW"],
            "BELOW cannot be written (Not a directory): choose another place",
        ),
        ("masked", ["--record", "/proc/nope/path"], "/proc/nope cannot be written ("),
        (
            "gpt",
            ["--prompt", b"caf\xe9".decode("utf-8", "surrogateescape")],
            "holds bytes that are not UTF-8",
        ),
        (
            "gpt",
            ["--prompt", "Once upon a time"],
            "a tale begins like 'once at the castle there lived'",
        ),
        (
            "manta",
            ["--guide", "happier"],
            "the nearest spellings are 'happy' or 'chair' or 'hammer' for 'happier'",
        ),
        (
            "ldlm",
            ["--infill", "once ____", "--gap", "70"],
            "73 tokens with its gaps, more than the 64 that fit",
        ),
        (
            "manta",
            ["--infill", "once at the ____ there", "--length", "6"],
            "7 tokens with its gaps, more than the 6 that fit",
        ),
        ("manta", ["--gap", "3"], "--gap says how long the gaps are: give --infill a text"),
        (
            "manta",
            ["--infill", "once ____", "--prompt", "once"],
            "--infill and --repair give the whole text: leave out --prompt",
        ),
        ("ldlm", ["--repair", "FILE", "--prompt", "once"], "leave out --prompt"),
        (
            "manta",
            ["--infill", "once ____", "--repair", "FILE"],
            "--infill and --repair each give the text: choose one",
        ),
        (
            "manta",
            ["--repair", "FILE", "--start", "0"],
            "--start 0.0 leaves nothing to repair or nothing of the text",
        ),
        ("ldlm", ["--repair", "FILE", "--start", "1"], "--start 1.0 leaves"),
        ("manta", ["--repair", "FILE", "--start", "nan"], "--start nan leaves"),
        (
            "manta",
            ["--repair", "FILE", "--length", "9"],
            "17 tokens, more than the 9 that fit: shorten it or raise --length",
        ),
        ("manta", ["--repair", "FILE", "--count", "0"], "cannot write 0 texts"),
        (
            "manta",
            ["--repair", "NONE"],
            "cannot be read (No such file or directory): check the path",
        ),
        ("ldlm", ["--repair", "FOLDER"], "cannot be read (Is a directory): check the path"),
        ("manta", ["--repair", "EMPTY"], "has no text to repair: give one with a text a paragraph"),
        ("manta", ["--repair", "LATIN"], "is not UTF-8 (byte 3): convert it to UTF-8"),
        ("vae", [], "a VAE puts no tokens in order, so it writes no texts: name a Manta-LM"),
        ("vae", ["--infill", "once ____"], "a VAE puts no tokens in order"),
    ],
)
def test_mistakes(kind, flags, said, request, sentence, tales, tmp_path):
    places = {"FILE": tales, "BELOW": tales / "BELOW" / "path", "FOLDER": tmp_path}
    places |= {name: tmp_path / name for name in ("NONE", "EMPTY", "LATIN")}
    places["EMPTY"].write_text(" \n\n")
    places["LATIN"].write_bytes(b"caf\xe9")
    run = request.getfixturevalue(f"{kind}_run")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert said in sentence("sample", str(run), *(str(places.get(flag, flag)) for flag in flags))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_flags_that_evaluate_cannot_use(vae_run, ldlm_run, sentence):
    assert (
        "a VAE writes no texts, so only what it rebuilds is measured: leave out the flags"
        in sentence("evaluate", str(vae_run), "--steps", "4")
    )
    assert "an LDLM has no noise levels with an offset" in sentence(
        "evaluate", str(ldlm_run), "--offset", "1"
    )


def test_given_words_need_the_frozen_encoder(ldlm_run, gpt_run, sentence, tales):
    hidden = gpt_run.with_name("hidden")
    shutil.move(gpt_run, hidden)
    try:
        said = [
            sentence("sample", str(ldlm_run), *flags)
            for flags in (
                ("--repair", str(tales)),
                ("--infill", "once at the ____ ."),
                ("--prompt", "once at"),
            )
        ]
        main(["sample", str(ldlm_run), "--count", "1", "--steps", "1"])
    finally:
        shutil.move(hidden, gpt_run)
    assert all("its frozen encoder, which is missing: no model" in line for line in said)


def test_a_zoo_of_a_vae_has_nothing_to_show(folder, vae_run, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "ZOO", tmp_path)
    pretrained.publish(vae_run, "vae-tiny")
    assert "the zoo has no language model" in sentence(
        "demo", "--figure", str(tmp_path / "demo.png")
    )
    assert not (tmp_path / "demo.png").exists()
