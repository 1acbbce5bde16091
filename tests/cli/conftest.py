"""Tiny models trained through the command line once, and a check of how a user's mistake ends."""

import pytest

from minildm import pretrained
from minildm.cli import main

TINY = [
    "--train.batch",
    "4",
    "--train.no-bf16",
    "--train.log-every",
    "1",
    "--model.d-model",
    "16",
    "--documents",
    "60",
    "--quiet",
]
TALE = "once at the castle there lived happy tess the fox ."


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """A folder for all runs, with a cache and a zoo of its own, which no test outside of this folder sees."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINILDM_CACHE", str(place / "cache"))
        patch.setattr(pretrained, "ZOO", place / "zoo")
        yield place


@pytest.fixture(scope="package")
def gpt_run(folder):
    main(
        [
            "train",
            "gpt",
            *TINY,
            "--train.steps",
            "6",
            "--train.save-every",
            "3",
            "--out",
            f"{folder}/gpt",
        ]
    )
    return folder / "gpt"


@pytest.fixture(scope="package")
def masked_run(folder):
    main(
        [
            "train",
            "masked",
            *TINY,
            "--train.steps",
            "6",
            "--train.save-every",
            "3",
            "--out",
            f"{folder}/masked",
        ]
    )
    return folder / "masked"


@pytest.fixture(scope="package")
def ldlm_run(folder, gpt_run):
    main(
        [
            "train",
            "ldlm",
            *TINY,
            "--train.steps",
            "4",
            "--model.n-denoiser-layers",
            "1",
            "--frozen",
            str(gpt_run),
            "--out",
            f"{folder}/ldlm",
        ]
    )
    return folder / "ldlm"


@pytest.fixture(scope="package")
def vae_run(folder):
    main(
        [
            "train",
            "vae",
            *TINY,
            "--train.steps",
            "6",
            "--train.save-every",
            "3",
            "--out",
            f"{folder}/vae",
        ]
    )
    return folder / "vae"


@pytest.fixture(scope="package")
def manta_run(folder, vae_run):
    main(
        [
            "train",
            "manta",
            *TINY,
            "--train.steps",
            "6",
            "--train.save-every",
            "3",
            "--model.n-layers",
            "1",
            "--vae",
            str(vae_run),
            "--out",
            f"{folder}/manta",
        ]
    )
    return folder / "manta"


@pytest.fixture(scope="package")
def stocked_zoo(gpt_run, masked_run, ldlm_run, vae_run, manta_run):
    for run in (gpt_run, masked_run, ldlm_run, vae_run, manta_run):
        pretrained.publish(run, f"{run.name}-tiny")
    return pretrained.ZOO


@pytest.fixture
def tales(tmp_path):
    """A file of two texts, the first of them over two lines."""
    path = tmp_path / "tales.txt"
    path.write_text(f"{TALE}\ntess was happy .\n\n{TALE}\n")
    return path


@pytest.fixture
def refused(capsys, folder):
    """Run a command that must end with exit code 2 and one sentence; returns the sentence."""

    def run(*argv: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(argv))
        said = capsys.readouterr().err
        assert ended.value.code == 2 and "Traceback" not in said
        return said

    return run


@pytest.fixture
def sentence(refused):
    """Like `refused`, for mistakes that end in exactly one line."""

    def run(*argv: str) -> str:
        said = refused(*argv)
        assert said.startswith("minildm: ") and said.count("\n") == 1
        return said

    return run
