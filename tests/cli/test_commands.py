"""Help and version, `minildm demo`, `doctor`, and places that cannot be written."""

import platform
from importlib.metadata import version

import pytest
import torch

import minildm
from minildm import pretrained
from minildm.cli import COMMANDS, demo, evaluate, main


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        [],
        ["train", "--help"],
        ["train", "gpt", "--help"],
        *(["train", model_type, "--help"] for model_type in ("masked", "ldlm", "vae", "manta")),
        *([name, "--help"] for name in COMMANDS if name != "train"),
    ],
)
def test_help_is_readable(argv, capsys):
    try:
        main(argv)
    except SystemExit as ended:
        assert ended.code in (0, None)
    said = capsys.readouterr().out
    assert said.startswith("usage: minildm") and max(map(len, said.splitlines())) <= 120
    if argv[:2] == ["train", "ldlm"]:
        assert (
            "--model.recipe.decoder-noise FLOAT" in said
            and "std of the noise on the decoder's input" in said
        )
        assert "--model.vocabulary" not in said


def test_version_names_package_torch_and_python(capsys):
    main(["--version"])
    said = capsys.readouterr().out
    assert (
        said
        == f"minildm {minildm.__version__}, torch {version('torch')}, Python {platform.python_version()}\n"
    )


def test_places_that_cannot_be_written_are_refused_before_the_work(
    gpt_run, stocked_zoo, sentence, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "load", None)
    monkeypatch.setattr(demo, "load", None)
    (tmp_path / "file").write_text("")
    for place, said in (
        (tmp_path, " is a folder: name a file"),
        (tmp_path / "file" / "x", "(Not a directory): choose another"),
        ("/proc/nope/x", "/proc/nope cannot be written ("),
    ):
        assert said in sentence("evaluate", str(gpt_run), "--out", str(place))
        assert said in sentence("demo", "--figure", str(place))
    for name in (
        300 * "x",
        252 * "x",
        f"new/{300 * 'x'}",
        f"{300 * 'x'}/new",
    ):  # a file is called NAME.tmp until it is whole
        for command in (["evaluate", str(gpt_run), "--out"], ["demo", "--figure"]):
            assert "(File name too long): choose another" in sentence(
                *command, str(tmp_path / name)
            )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_demo_shows_every_language_model_and_draws(stocked_zoo, tmp_path, capsys):
    main(
        ["demo", "--count", "3", "--show", "1", "--figure", str(tmp_path / "figures" / "demo.png")]
    )
    said = capsys.readouterr().out
    assert (
        all(f"\n{model_type}-tiny\n" in said for model_type in ("gpt", "masked", "ldlm", "manta"))
        and "vae" not in said
    )
    table = said[said.index("model ") :].splitlines()
    assert (
        "grammatical" in table[0]
        and len({len(line) for line in table[:5]}) == 1
        and "\x1b" not in said
    )
    assert (tmp_path / "figures" / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_a_zoo_of_a_vae_has_nothing_to_show(folder, vae_run, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "ZOO", tmp_path)
    pretrained.publish(vae_run, "vae-tiny")
    assert "the zoo has no language model" in sentence(
        "demo", "--figure", str(tmp_path / "demo.png")
    )
    assert not (tmp_path / "demo.png").exists()


def test_doctor_says_ok_or_how_to_fix_it(stocked_zoo, capsys):
    main(["doctor"])
    said = capsys.readouterr().out
    assert (
        f"torch                  {torch.__version__}" in said
        and "training step          loss" in said
    )
    assert "OK    zoo:gpt-tiny" in said
    weights = stocked_zoo / "gpt-tiny.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    weights.write_bytes(whole)
    assert ended.value.code == 1 and "FIX   zoo:gpt-tiny" in capsys.readouterr().out


def test_doctor_names_what_is_missing(monkeypatch):
    from minildm.cli import doctor

    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-thing"))
    lines = list(doctor.packages())
    assert ("FIX", "no-such-thing", "missing: pip install no-such-thing") in lines


def test_doctor_knows_every_dependency():
    import tomllib
    from pathlib import Path

    from minildm.cli.doctor import NEEDED

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {line.split(">=")[0] for line in project["dependencies"]} == set(NEEDED)
