"""The repository keeps its own rules: equal lists of dependencies, clean files, arrows of import, full docstrings."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from minildm.cli.flags import parse
from minildm.training.checkpoint import config_card
from minildm.training.presets import PRESETS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
EVERYTHING = PROJECT["dependencies"] + [line for extra in EXTRAS.values() for line in extra]
CONDA_NAMES = {"pytorch": "torch", "playwright-python": "playwright"}
FROM_PIP = {"basedpyright", "sphinx-mathjax-offline"}

GROUND = {"errors", "tokens", "UserError", "__version__"}  # what every file may import
ARROWS = {
    "text": set(),
    "dynamics": set(),
    "nets": set(),
    "control": {"dynamics"},
    "transport": {"dynamics", "control"},
    "models": {"dynamics", "control", "transport", "nets"},
    "training": {"models", "text"},
    "evaluation": {"models", "text", "control", "dynamics"},
    "studies": {
        "text",
        "dynamics",
        "nets",
        "control",
        "transport",
        "models",
        "sampling",
        "training",
        "evaluation",
    },
    "viz": {"dynamics", "control", "transport", "studies"},
}
FREE = {
    "checks",
    "cli",
    "__main__",
    "__init__",
    "chapters",
    "book",
    "citations",
    "doctor",
}  # may import anything

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


def tracked() -> list[Path]:
    """Files in the repository, and those about to be."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(
        listing, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def texts() -> dict[str, str]:
    """Contents of the tracked text files: those that are UTF-8."""
    contents = {}
    for path in tracked():
        try:
            contents[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return contents


def modules() -> dict[Path, ast.Module]:
    return {
        path.relative_to(ROOT): ast.parse(path.read_text())
        for path in sorted((ROOT / "minildm").rglob("*.py"))
    }


def chapters() -> dict[Path, ast.Module]:
    """The code of each notebook, without its magics."""
    trees = {}
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        cells = [
            c["source"] for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"
        ]
        lines = "\n".join("".join(source) for source in cells).splitlines()
        trees[path.relative_to(ROOT)] = ast.parse(
            "\n".join(line for line in lines if not line.startswith(("%", "!")))
        )
    return trees


def room(path: Path) -> str:
    """The part of the package that a file belongs to: minildm/text/tales.py is in "text"."""
    return path.parts[1].removesuffix(".py")


def imports(path: Path, tree: ast.Module):
    """Yields (dotted name, name it is bound to) for everything that a file imports from the package."""
    package = path.parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [(alias.name, alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*base, *filter(None, [node.module])))
            found = [(f"{base}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        else:
            continue
        yield from (
            (dotted.split("."), bound)
            for dotted, bound in found
            if dotted.split(".")[0] == "minildm"
        )


def called_from_outside() -> set[tuple[str, str]]:
    """The (room, name) pairs that other rooms and the chapters use, by name or as an attribute of a module."""
    used = set()
    for path, tree in {**modules(), **chapters()}.items():
        foreign = [
            (d, bound) for d, bound in imports(path, tree) if len(d) > 1 and d[1] != room(path)
        ]
        rooms = {bound: dotted[1] for dotted, bound in foreign}
        used |= {(dotted[1], dotted[-1]) for dotted, _ in foreign}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in rooms
            ):
                used.add((rooms[node.value.id], node.attr))
    return used


def public(tree: ast.Module):
    kinds = ast.FunctionDef | ast.ClassDef
    return (node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_"))


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


def test_imports_follow_the_arrows():
    wrong = [
        f"{path}: {'.'.join(dotted)}"
        for path, tree in modules().items()
        if room(path) not in FREE
        for dotted, _ in imports(path, tree)
        if len(dotted) > 1 and dotted[1] not in GROUND | {room(path)} | ARROWS[room(path)]
    ]
    assert not wrong, "imports that no arrow allows:\n" + "\n".join(wrong)


def test_arrows_have_no_circle():
    left = dict(ARROWS)
    while left:
        done = [name for name, needs in left.items() if not needs & left.keys()]
        assert done, f"a circle among {sorted(left)}"
        for name in done:
            del left[name]


def test_every_public_name_has_a_docstring():
    bare = [
        f"{path}: {node.name}"
        for path, tree in modules().items()
        for node in public(tree)
        if not ast.get_docstring(node)
    ]
    assert not bare, "\n".join(bare)


def described(text: str) -> set[str]:
    """The parameters that a docstring in Google style describes under `Args:`."""
    block = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    entries = re.findall(r"^    (\S[^:\n]*):", block[1], re.M) if block else []
    return {name.strip("* ") for entry in entries for name in entry.split(",")}


def test_what_others_call_is_fully_documented():
    """Functions that another room or a chapter calls say what each argument is and what they return.

    So does every function that has begun to: one with `Args:`.
    """
    used, short = called_from_outside(), []
    for path, tree in modules().items():
        for node in public(tree) if room(path) in ARROWS.keys() - {"viz"} else ():
            names = (
                [] if isinstance(node, ast.ClassDef) else [*node.args.args, *node.args.kwonlyargs]
            )
            text = ast.get_docstring(node) or ""
            if not names or ((room(path), node.name) not in used and "Args:" not in text):
                continue
            missing = [arg.arg for arg in names if arg.arg not in described(text)]
            returns = not isinstance(node.returns, ast.Constant) or node.returns.value is not None
            missing += ["Returns"] if returns and "Returns:" not in text else []
            if missing:
                short.append(f"{path}: {node.name} lacks {', '.join(missing)}")
    assert not short, "\n".join(short)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
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


def test_presets_train_the_models_of_the_zoo():
    for card in sorted((ROOT / "minildm" / "zoo").glob("*.json")):
        config, run = json.loads(card.read_text())["config"], PRESETS[card.stem]
        asked = config_card(run.train)
        assert config["model"] == config_card(run.model) and config["corpus"] == config_card(
            run.corpus
        ), card.name
        assert all(config["train"][k] == asked[k] for k in asked if not k.endswith("_every")), (
            card.name
        )


def test_the_command_of_a_card_is_still_understood():
    for card in sorted((ROOT / "minildm" / "zoo").glob("*.json")):
        content = json.loads(card.read_text())
        kind, flags = parse(
            shlex.split(content["command"])[2:]
        )  # behind "minildm train" or "python benchmarks/replay.py"
        asked = config_card(flags.train)
        assert (
            kind == content["kind"] and flags.documents == content["config"]["corpus"]["documents"]
        ), card.name
        assert all(
            content["config"]["train"][k] == asked[k] for k in asked if not k.endswith("_every")
        ), card.name


def test_the_readme_shows_the_scores_of_the_cards():
    text = (ROOT / "README.md").read_text()
    for card in sorted((ROOT / "minildm" / "zoo").glob("*.json")):
        content = json.loads(card.read_text())
        if content["kind"] == "vae":
            continue  # it writes no texts
        scores = content["scores"]
        for name in ("grammatical", "consistent"):
            assert (
                f"{100 * scores['mean'][name]:.1f}% ± {100 * scores['spread'][name]:.1f}" in text
            ), (card.name, name)
