"""The repository keeps its own rules: equal lists of dependencies, one version, normal and small files, links."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from minildm import __version__

from .repository import ROOT, texts, tracked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
EVERYTHING = PROJECT["dependencies"] + [line for extra in EXTRAS.values() for line in extra]
CONDA_NAMES = {"pytorch": "torch", "playwright-python": "playwright"}
FROM_PIP = {"basedpyright", "sphinx-mathjax-offline"}
PRIVATE_PATH = re.compile(r"(?<![\w.])/(work|tmp|root|home|opt|Users)/")
REGISTRY = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|conda\.anaconda\.org|registry\.npmjs\.org"
)


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    rows = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in rows}


def test_each_range_ends_before_the_next_untested_major():
    for name, requirement in requirements(EVERYTHING).items():
        tested = pins()[name]
        assert tested in requirement.specifier, (
            f"{name}: {tested} was tested but {requirement} leaves it out"
        )
        assert f"<{tested.major + 1}" in str(requirement.specifier).split(","), requirement
        assert ">=" in str(requirement.specifier), f"{requirement} has no lower bound"


def test_one_dependency_has_one_range():
    ranges = {(canonicalize_name(r.name), str(r.specifier)) for r in map(Requirement, EVERYTHING)}
    assert len(ranges) == len({name for name, _ in ranges})


def test_conda_environment_equals_the_pip_one():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    *names, last = environment
    *from_pip, itself = last["pip"]
    assert set(requirements(from_pip)) == FROM_PIP and itself == "-e ."
    python, pip, *names = names
    assert python == f"python{PROJECT['requires-python']}" and pip == "pip"
    conda = requirements(
        [re.sub(r"^[\w-]+", lambda m: CONDA_NAMES.get(m[0], m[0]), name) for name in names]
        + from_pip
    )
    wanted = requirements(PROJECT["dependencies"] + EXTRAS["book"] + EXTRAS["dev"] + EXTRAS["hub"])
    assert {n: r.specifier for n, r in conda.items()} == {n: r.specifier for n, r in wanted.items()}


def test_the_package_alone_brings_no_notebooks():
    assert not [name for name in requirements(PROJECT["dependencies"]) if "jupyter" in name]
    assert "jupyterlab" in requirements(EXTRAS["book"])
    assert (ROOT / "minildm" / "py.typed").exists()


def test_one_version_is_named():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ and citation["license"] == PROJECT["license"]
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert latest and latest[1] == __version__


def test_the_public_workflow_is_make_test():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert {"run": "make test"} in workflow["jobs"]["test"]["steps"]
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_tree_is_small():
    """Weights are most of it: CONTRIBUTING.md says how they are published."""
    assert sum(path.stat().st_size for path in tracked()) < 69 * 2**20


def test_constraints_are_plain_pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert not [line for line in lines if line and not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)]


def test_no_private_path_and_no_registry_in_any_file():
    faults = [
        f"{name}:{i}: {line.strip()[:100]}"
        for name, text in texts().items()
        for i, line in enumerate(text.splitlines(), 1)
        if PRIVATE_PATH.search(line) or REGISTRY.search(line)
    ]
    assert not faults, "\n".join(faults)


def test_files_are_short():
    code = {
        name: text.count("\n")
        for name, text in texts().items()
        if name.endswith(".py") and name.startswith(("minildm/", "tests/", "benchmarks/", "docs/"))
    }
    assert not {name: lines for name, lines in code.items() if lines > 300}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_resolve(page):
    links = re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text())
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_import_is_light():
    heavy = (
        "matplotlib",
        "transformers",
        "datasets",
        "IPython",
        "ipywidgets",
        "tyro",
        "tokenizers",
    )
    code = f"import sys, minildm; print([name for name in {heavy} if name in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
        ).stdout
        == "[]\n"
    )
