"""The structure of the package: arrows of import, one registry of models, the field's words, described functions."""

import ast
import re
from pathlib import Path

import pytest

from minildm.models.registry import MODEL_TYPES

from .repository import chapters, imports, modules, public, room
from .terms import hits, rooms

GROUND = {"errors", "UserError", "tokens", "__version__"}  # what every file may import
MODELS = {"dynamics", "control", "transport", "nets", "models"}
ARROWS = {
    "text": set(),
    "dynamics": set(),
    "nets": set(),
    "control": {"dynamics"},
    "transport": {"dynamics", "control"},
    "models": MODELS - {"models"},
    "sampling": MODELS,
    "training": {"models", "sampling", "text"},
    "pretrained": {"nets", "models", "training", "text"},
    "evaluation": {*MODELS, "sampling", "text"} - {"nets"},
    "studies": {*MODELS, "sampling", "text", "training", "pretrained", "evaluation"},
    "viz": {"dynamics", "control", "transport"},
    "viz/chapters": {"dynamics", "control", "transport", "studies"},
}
FREE = {  # may import anything
    "checks",
    "cli",
    "__main__",
    "__init__",
    "api",
    "chapters",
    "book",
    "citations",
}


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


def allowed(path: Path) -> set[str]:
    """The rooms that a file may import from: those of its folder, where the table has it, or of its room."""
    folder = "/".join(path.parts[1:3])
    return GROUND | {room(path)} | ARROWS.get(folder, ARROWS[room(path)])


def test_imports_follow_the_arrows():
    wrong = [
        f"{path}: {'.'.join(dotted)}"
        for path, tree in modules().items()
        if room(path) not in FREE
        for dotted, _ in imports(path, tree)
        if len(dotted) > 1 and dotted[1] not in allowed(path)
    ]
    assert not wrong, "imports that no arrow allows:\n" + "\n".join(wrong)


def test_arrows_have_no_circle():
    left = {name: needs for name, needs in ARROWS.items() if "/" not in name}
    while left:
        done = [name for name, needs in left.items() if not needs & left.keys()]
        assert done, f"a circle among {sorted(left)}"
        for name in done:
            del left[name]


def model_classes() -> dict[str, Path]:
    """The classes of the registry, and the files that define them."""
    classes = {entry.model.__name__ for entry in MODEL_TYPES.values()}
    return {
        node.name: path
        for path, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name in classes
    }


def test_no_file_but_its_own_asks_whether_a_model_is_of_a_class():
    classes = model_classes()
    asked = [
        f"{path}:{node.lineno}: {name.id}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
        for name in ast.walk(node.args[1])
        if isinstance(name, ast.Name) and classes.get(name.id, path) != path
    ]
    assert not asked, "\n".join(asked)


def chosen_by(node: ast.AST) -> list[ast.AST]:
    """What a comparison, a case, or a choice from a written-out dictionary depends on."""
    if isinstance(node, ast.Compare | ast.MatchValue):
        return [node]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        return [key for key in node.value.keys if key]
    return []


def test_no_file_but_the_registry_compares_model_types():
    compared = [
        f"{path}:{text.lineno}: {text.value}"
        for path, tree in modules().items()
        if path.name != "registry.py"
        for node in ast.walk(tree)
        for part in chosen_by(node)
        for text in ast.walk(part)
        if isinstance(text, ast.Constant) and text.value in MODEL_TYPES
    ]
    assert not compared, "\n".join(compared)


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


def test_what_others_use_is_fully_documented():
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


@pytest.mark.parametrize("place", rooms())
def test_no_private_word_stands_in_the_package_its_pages_notebooks_and_tests(place):
    assert not hits(place), "\n".join(hits(place))
