"""The zoo: what is published is what loads, runs load alike, and whatever does not fit is refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from minildm import pretrained
from minildm.errors import UserError
from minildm.models.generation import GenerationConfig
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.ldlm import LDLM, LDLMConfig
from minildm.models.manta import MantaLM
from minildm.models.manta_config import MantaLMConfig
from minildm.models.vae import VAE, VAEConfig
from minildm.sampling import Sampler
from minildm.text.tokenizers import WordTokenizer
from minildm.training.checkpoint import config_card, read_tensors
from minildm.training.loop import TrainConfig, Trainer

WORDS = WordTokenizer([f"w{i}" for i in range(16)])
ROWS = np.random.default_rng(0).integers(4, 20, (32, 8)).astype(np.uint16)
TOKENS = torch.from_numpy(ROWS[:4].astype(np.int64))


def train(model, run, model_type, **card):
    config = TrainConfig(steps=4, batch=8, warmup=2, log_every=2, eval_every=2, save_every=2)
    card = {
        "model_type": model_type,
        "tokenizer": WORDS.card(),
        **card,
        "config": {"model": config_card(model.config), "train": config_card(config)},
    }
    Trainer(model, ROWS, config, run, card).fit(quiet=True)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs of a GPT, published as gpt-tiny, and of an LDLM on its states; a zoo of their own."""
    monkeypatch.setattr(pretrained, "ZOO", tmp_path / "zoo")
    torch.manual_seed(0)
    train(
        GPT(GPTConfig(vocab_size=20, seq_len=8, d_model=16, n_heads=2, n_layers=2)),
        tmp_path / "gpt",
        "gpt",
    )
    pretrained.publish(tmp_path / "gpt", "gpt-tiny")
    frozen = pretrained.load_frozen("zoo:gpt-tiny", -2)[0]
    frozen.calibrate(TOKENS)
    config = LDLMConfig(
        vocab_size=20,
        seq_len=8,
        frozen="zoo:gpt-tiny",
        layer=-2,
        hidden=16,
        latent=4,
        d_model=16,
        n_heads=2,
        n_encoder_layers=1,
        n_decoder_layers=1,
        n_denoiser_layers=1,
    )
    train(
        LDLM(config, frozen),
        tmp_path / "ldlm",
        "ldlm",
        frozen={"fingerprint": frozen.fingerprint()},
    )
    return tmp_path


@pytest.fixture
def latent_runs(tmp_path, monkeypatch):
    """Runs of a VAE, published as vae-tiny, and of a Manta-LM in its space; a zoo of their own."""
    monkeypatch.setattr(pretrained, "ZOO", tmp_path / "zoo")
    torch.manual_seed(0)
    train(
        VAE(VAEConfig(vocab_size=20, seq_len=8, latent=4, d_model=16, n_heads=2)),
        tmp_path / "vae",
        "vae",
    )
    pretrained.publish(tmp_path / "vae", "vae-tiny")
    space = pretrained.load_space("zoo:vae-tiny")[0]
    config = MantaLMConfig(
        vocab_size=20, seq_len=8, d_model=16, n_heads=2, n_layers=1, space=space.config
    )
    train(MantaLM(config, space), tmp_path / "manta", "manta")
    return tmp_path


def draw(model, count, **given):
    return Sampler(model, GenerationConfig(steps=2))(
        count, rng=torch.Generator().manual_seed(0), **given
    )


def refused(make) -> str:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_published_is_the_average_of_the_run(runs):
    card = json.loads(pretrained.publish(runs / "gpt", "gpt-again", {"excess": 0.5}).read_text())
    assert pretrained.names() == ["gpt-again", "gpt-tiny"] and not list(
        pretrained.ZOO.glob("*.tmp")
    )
    assert (
        card["steps"] == 4
        and card["seed"] == 0
        and card["scores"] == {"excess": 0.5}
        and card["minutes"] >= 0
    )
    average = read_tensors(runs / "gpt" / "step_0000004" / "ema.safetensors")
    for name in ("gpt-again", "zoo:gpt-again", runs / "gpt", runs / "gpt" / "step_0000004"):
        loaded = pretrained.load(name)
        own = loaded.model.state_dict()
        assert all(torch.equal(own[k], v) for k, v in average.items()) and not loaded.model.training
        assert loaded.tokenizer.card() == WORDS.card()


def test_what_is_too_large_has_its_matrices_in_half_precision(runs, monkeypatch):
    average = read_tensors(runs / "ldlm" / "step_0000004" / "ema.safetensors")
    monkeypatch.setattr(
        pretrained, "LARGEST", sum(x.nbytes for x in average.values())
    )  # the header is too much
    pretrained.publish(runs / "ldlm", "ldlm-tiny")
    stored, own = (
        read_tensors(pretrained.ZOO / "ldlm-tiny.safetensors"),
        pretrained.load("ldlm-tiny").model.state_dict(),
    )
    for name, x in average.items():
        halved = x.dtype == torch.float32 and x.dim() > 1 and not name.startswith("frozen.")
        assert stored[name].dtype == (torch.float16 if halved else x.dtype)
        assert torch.equal(own[name], x.half().float() if halved else x)
    monkeypatch.setattr(pretrained, "LARGEST", 1000)
    assert "too large for the zoo" in refused(
        lambda: pretrained.publish(runs / "ldlm", "ldlm-tiny")
    )


def test_the_best_checkpoint_stands_for_a_run(runs):
    card = runs / "gpt" / "step_0000004" / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"best": "step_0000002"}))
    assert pretrained.chosen(runs / "gpt").name == "step_0000002"


def test_an_ldlm_finds_its_frozen_encoder_and_scale_again(runs):
    pretrained.publish(runs / "ldlm", "ldlm-tiny")
    for name in ("ldlm-tiny", runs / "ldlm"):
        loaded = pretrained.load(name)
        assert loaded.missing is None
        wanted = pretrained.load("gpt-tiny").model.as_encoder(-2, "gpt-tiny")
        wanted.calibrate(TOKENS)
        assert torch.allclose(loaded.model.hidden(TOKENS), wanted(TOKENS), atol=1e-6)


def test_a_vae_is_a_space_and_nothing_else_is(latent_runs):
    space, tokenizer = pretrained.load_space("zoo:vae-tiny")
    own = pretrained.load(latent_runs / "vae").model
    assert tokenizer.card() == WORDS.card() and torch.equal(
        space.encode(TOKENS), own.encode(TOKENS)
    )
    assert (space.mean != 0).any() and not space.training
    assert "is no VAE, so it has no latent space to steer in: name a VAE for --vae" in refused(
        lambda: pretrained.load_space(str(latent_runs / "manta"))
    )
    assert "the zoo has vae-tiny" in refused(lambda: pretrained.load_space("vae-huge"))


def test_a_manta_carries_its_space_and_writes_alone(latent_runs):
    pretrained.publish(latent_runs / "manta", "manta-tiny")
    (pretrained.ZOO / "vae-tiny.json").unlink()
    shutil.rmtree(latent_runs / "vae")
    texts = []
    for name in ("manta-tiny", latent_runs / "manta"):
        loaded = pretrained.load(name)
        assert (
            loaded.missing is None
            and isinstance(loaded.model.config.space, VAEConfig)
            and not loaded.model.training
        )
        assert not any(p.requires_grad for p in loaded.model.space.parameters())
        texts.append(draw(loaded.model, 2).tokens)
    assert torch.equal(*texts) and texts[0].shape == (2, 8)
    card = json.loads((pretrained.ZOO / "manta-tiny.json").read_text())
    assert (
        card["model_type"] == "manta"
        and card["config"]["model"]["space"]["latent"] == 4
        and card["minutes"] >= 0
    )
    draw(loaded.model, 1, prompt=TOKENS[:1], observed=TOKENS[:1] <= 9)


def test_training_leaves_the_space_as_it_was(latent_runs):
    space, model = (
        pretrained.load_space("zoo:vae-tiny")[0].state_dict(),
        pretrained.load(latent_runs / "manta").model,
    )
    assert all(torch.equal(space[k], v) for k, v in model.space.state_dict().items())
    assert model.prior.abs().max() > 0


def test_an_ldlm_writes_without_its_frozen_encoder(runs):
    (pretrained.ZOO / "gpt-tiny.json").unlink()
    loaded = pretrained.load(runs / "ldlm")
    assert loaded.missing.startswith("no model 'zoo:gpt-tiny'")
    written = draw(loaded.model, 2)
    assert written.tokens.shape == (2, 8)
    assert "without its frozen encoder zoo:gpt-tiny" in refused(lambda: loaded.model.hidden(TOKENS))
    assert pretrained.load(runs / "ldlm", frozen=False).missing is None


def test_a_changed_frozen_encoder_is_refused(runs):
    torch.manual_seed(1)
    train(
        GPT(GPTConfig(vocab_size=20, seq_len=8, d_model=16, n_heads=2, n_layers=2)),
        runs / "other",
        "gpt",
    )
    pretrained.publish(runs / "other", "gpt-tiny")
    assert "was trained on another zoo:gpt-tiny than the one found" in refused(
        lambda: pretrained.load(runs / "ldlm")
    )


def test_mistakes(runs, monkeypatch):
    assert "the zoo has gpt-tiny; or name the folder of a run" in refused(
        lambda: pretrained.load("gpt-huge")
    )
    assert "is no GPT" in refused(lambda: pretrained.load_frozen(str(runs / "ldlm"), -2))
    assert "has no layer -9" in refused(lambda: pretrained.load_frozen("zoo:gpt-tiny", -9))
    monkeypatch.setattr(pretrained, "LARGEST", 100)
    assert "too large for the zoo" in refused(lambda: pretrained.publish(runs / "gpt", "gpt-big"))
    assert pretrained.names() == ["gpt-tiny"] and not list(pretrained.ZOO.glob("*.tmp"))


def test_a_full_disk_leaves_nothing_half_written(runs, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = {p.name: p.read_bytes() for p in pretrained.ZOO.iterdir()}
    monkeypatch.setattr(pretrained, "save_file", full)
    assert "No space left on device" in refused(
        lambda: pretrained.publish(runs / "gpt", "gpt-tiny")
    )
    assert {p.name: p.read_bytes() for p in pretrained.ZOO.iterdir()} == before


def test_a_card_without_a_frozen_encoder(runs):
    card = runs / "ldlm" / "step_0000004" / "card.json"
    card.write_text(
        json.dumps({k: v for k, v in json.loads(card.read_text()).items() if k != "frozen"})
    )
    assert "does not say on which frozen encoder" in pretrained.load(runs / "ldlm").missing


def test_hub_models_bring_their_tokenizer(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs the extra `hub`")
    from minildm.text.tokenizers import BytePairTokenizer

    pairs = BytePairTokenizer.train(["a fox ran home"], 270)
    pairs.model.save(str(tmp_path / "tokenizer.json"))
    config = transformers.GPT2Config(
        vocab_size=266,
        n_positions=16,
        n_embd=8,
        n_layer=3,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    encoder, tokenizer = pretrained.load_frozen(f"hub:{tmp_path}", -3)
    row = [1, *tokenizer.encode("a fox ran"), 2]
    assert tokenizer.decode(row) == "a fox ran" and encoder(torch.tensor([row])).shape == (
        1,
        len(row),
        8,
    )
