"""Private words that the field has another word for: `python -m tests.terms [ROOM ...]` prints where they still stand.

A room is a part of the package, one of its pages, or a folder beside it: the cells of the notebooks, tests, benchmarks.

Names are searched where they are bound (functions, classes, parameters, variables, fields, files, strings that are a name), part
by part: `pull` is found in `encoder_pull` and `EncoderPull`, not in `pulley`. Prose, which is comments, docstrings, messages and
pages, is searched for whole words. What stands in double quotes inside prose is a nickname that is being introduced, and is free.
So is a table of old names: what is assigned to a name that begins with RENAMED. The text cells of notebooks are searched for
names in backticks only, which are those of the code.
"""

import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
FOLDERS = ("notebooks", "tests", "benchmarks")  # beside the package


@dataclass(frozen=True)
class Term:
    name: str  # regular expression of whole parts of a name, joined by _
    prose: (
        str | None
    )  # regular expression of whole words of a text; None where the word is plain English
    instead: str  # the field's word
    rooms: str = ""  # where it is private; everywhere if empty
    but: str = r"(?!)"  # what may stand, in names or prose, since it is the field's own phrase


# fmt: off
TERMS = (
    # Probability and transport
    Term("laws?", "laws?", "distribution, policy", but=r"(feedback|conservation|power|scaling)[ _]laws?|laws? of (large|total|physics)"),
    Term("clean", "clean", "data prediction, denoised"),
    Term("mean_field", "mean field", "marginal velocity"),
    Term("pinned_(?!control|value)\\w+", "pinned (law|field|motion)", "conditional velocity, pinned_control"),
    Term("motions?", "motions?", "process, SDE", but=r"brownian[ _]motions?|equations? of motion"),
    Term("clocks?", "clocks?", "time change, noise level", but=r"wall[ _-]?clock|looks? at the clock|chair clock comb"),
    Term("rulers?", "rulers?", "rescaling"),
    Term("forget|recall|ruin", "forgets?|forgetting|recalls?|ruin(s|ed)?", "forward / reverse process"),
    Term("shares?", r"(a|the|its|this|their|equal|largest|smallest|what) shares?|shares? (of|that|in)", "fraction, eta, responsibilities"),
    Term("looks?", r"(a|one|two|each|per|every|more|fewer|most|many|own|second|first|last|\d+) looks?|looks (a|per)", "function evaluation, NFE", but=r"first[ _]looks?"),  # a section of each chapter
    Term("calls?", r"(network|denoiser|\d+) calls?|calls (a|per) (text|step)|calls of the (network|model)", "nfe"),
    Term("stiff|stiffness", "stiffness", "expansion rate"),
    Term("prices?", "prices?", "cost, rate"),
    Term("pooling|pooled", "pooling|pooled", "isotonic regression"),
    Term("boxes|stairs|even_grid", "boxes|stairs|even grid", "finite volumes, empirical CDF, uniform grid"),
    Term("bend|bends|bent|bending", "bends?|bent|bending", "straightness, posterior-mean guidance, second derivative"),
    Term("scatter|widths", "scatter(s|ed)?", "variance, standard deviations", rooms="(?!viz).*"),
    Term("remember|remembering|remembers", "remember(s|ed|ing)?", "linear multistep"),
    # Control
    Term("credits?|blames?|bills?|promises?", "credits?|blame(s|d)?|bills?", "adjoint, realized cost, predicted cost"),
    Term("miss", r"(a|the|its|of|squared|terminal|final) miss", "terminal error"),
    Term("kicks?|kicked|unkicked", "(un)?kick(s|ed|ing)?", "disturbance"),
    Term("nudges?|nudged|shadows?", "nudge(s|d)?|shadows?", "perturbation, linearization"),
    Term("held(?!_out)", "held control", "zero-order hold"),
    Term("fronts?", None, "Pareto front", but="pareto_fronts?"),
    Term("frauds?", "frauds?", "almost-everywhere solution"),
    Term("winds?", "winds?", "Brownian increment"),
    # Language models
    Term("read_off|reads_off", "(reads?|reading) off", "decode"),
    Term("wish|wishes|wished|strength", "wish(es|ed)?|strengths?", "guidance target, guidance scale"),
    Term("tilt|tilts|tilted", "tilt(s|ed|ing)?", "reweighting"),
    Term("insist|insists|(?<!num_)tries", r"insist(s|ed)?|(five|of|many|\d+) tries", "rejection sampling, num_tries", but=r"0 tries draw nothing"),
    Term("known|unknown", r"known (words?|tokens?|positions?|mask)", "observed", rooms="models|sampling|evaluation|cli|training|nets"),
    Term("lag|lags|stagger\\w*", "lags?|stagger(s|ed|ing)?", "schedule offset, noise levels"),
    Term("windows?", "windows?", "blocks", rooms="models|sampling|training|cli|transport|control|README.md"),
    Term("ahead", r"(words?|tokens?|positions?) ahead", "block size", rooms="models|sampling|training|cli|nets"),
    Term("pace|paced|unpaced", "paced?", "entropy-bounded"),
    Term("told", "told", "next-token training"),
    Term("solver_drawn|drawn_ends?", r"solver drawn|drawn ends?", "sampled end point"),
    Term("heat|cold", "heat|cold", "temperature, eps", but="heat[ _](equation|kernel|bath|maps?)"),
    Term("beliefs?", "beliefs?", "posterior"),
    Term("doubts?", "doubts?", "token_nll, self-check"),
    Term("sees?|sight|unseen", "sight|unseen", "attention mask"),
    Term("who_is_who|namesakes?", "who is who|namesakes?", "entity binding, duplicate names"),
    Term("pulls?", "pull(s|ed)?", "encoder gradient scale", but="pull[ _]?back"),
    Term("kinds?", r"kinds? of models?|each kind", "model type", rooms="models|sampling|training|cli", but='^"kind"$'),  # a line's of the log
    Term("brief", r"brief(er)? (models?|presets?)", "-cpu"),
    Term("journals?", "journals?", "metrics log", rooms="(?!citations).*"),  # BibTeX has journals
    Term("mend|mends|mended|mending", "mend(s|ed|ing)?", "fix"),
    Term("enter|leave", None, "in_proj, out_proj", rooms="nets|models"),
    Term("taps?|mix", "taps", "kernel, conv", rooms="nets|models"),
    Term("together", None, "CombinedOptimizer, fully parallel"),
    Term("average|ranks", None, "EMA, DistributedContext", rooms="training|models"),
    Term("vocabulary|width|heads|(?:\\w+_)?layers", None, "vocab_size, d_model, n_heads, n_layers", rooms="nets|models", but="n_heads|n_(\\w+_)?layers|HEADS"),
    Term("writing_\\w+", None, "GenerationConfig"),
)
# fmt: on


def parts(name: str) -> str:
    """A name as lower-case parts joined by _: encoder_pull of EncoderPull."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|-", "_", name).lower()


def bound(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every name that a file gives, and of every string that is a name, in quotes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"-*[A-Za-z]\w*([-.]\w+)*", node.value)
        ):
            yield node.lineno, f'"{node.value}"'


def spoken(code: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of every line of a comment, a docstring or a message."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            lines = node.value.split("\n")
            first = node.lineno if len(lines) - 1 == (node.end_lineno or 0) - node.lineno else None
            yield from (
                (node.lineno if first is None else first + i, line) for i, line in enumerate(lines)
            )


def without_tables_of_old_names(tree: ast.Module) -> ast.Module:
    def old(node: ast.stmt) -> bool:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        return any(isinstance(t, ast.Name) and t.id.startswith("RENAMED") for t in targets)

    tree.body = [node for node in tree.body if not old(node)]
    return tree


def page(text: str) -> Iterator[tuple[int, str, bool]]:
    """(line, text, whether it is code) of a page in Markdown."""
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            code = not code
        yield number, line, code


def private_names(room: str, name: str) -> Iterator[Term]:
    if re.fullmatch(r"__\w+__", name):
        return
    for term in TERMS:
        if term.rooms and not re.fullmatch(term.rooms, room):
            continue
        rest = re.sub(term.but, "", parts(name), flags=re.I)
        if re.search(rf"(?<![a-z0-9])(?:{term.name})(?![a-z0-9])", rest):
            yield term


def private_words(room: str, line: str) -> Iterator[tuple[str, Term]]:
    for name in re.findall(r"`-*([A-Za-z_][\w-]*)", line):
        yield from ((name, term) for term in private_names(room, name))
    prose = re.sub(r"`[^`]*`|\"[^\"]{1,40}\"|“[^”]*”|\]\([^)]*\)", " ", line)
    for term in TERMS:
        if term.prose and (not term.rooms or re.fullmatch(term.rooms, room)):
            found = re.search(
                rf"(?<![\w-])(?:{term.prose})(?![\w-])",
                re.sub(term.but, "", prose, flags=re.I),
                re.I,
            )
            if found:
                yield found[0], term


def in_code(place: str, room: str, code: str) -> Iterator[tuple[str, int, str, str]]:
    """(place, line, private word, the field's word) of the names, comments and texts of a file or cell."""
    tree = without_tables_of_old_names(ast.parse(code))
    for line, name in bound(tree):
        yield from ((place, line, name, term.instead) for term in private_names(room, name))
    for line, text in spoken(code, tree):
        yield from ((place, line, word, term.instead) for word, term in private_words(room, text))


def in_page(place: str, room: str, text: str) -> Iterator[tuple[str, int, str, str]]:
    for number, line, code in page(text):
        names = re.findall(r"--[\w-]+|\w+(?:[-_]\w+)+", line) if code else []
        yield from (
            (place, number, name, term.instead)
            for name in names
            for term in private_names(room, name.lstrip("-"))
        )
        yield from ((place, number, word, term.instead) for word, term in private_words(room, line))


def in_package(room: str) -> Iterator[tuple[str, int, str, str]]:
    for path in sorted((ROOT / "minildm").rglob("*.py")):
        place = path.relative_to(ROOT / "minildm").with_suffix("")
        if place.parts[0] == room:
            where = str(path.relative_to(ROOT))
            for part in place.parts:
                yield from (
                    (where, 0, part, term.instead)
                    for term in private_names(room, part)
                    if term.prose
                )
            yield from in_code(where, room, path.read_text())


def in_folder(folder: str) -> Iterator[tuple[str, int, str, str]]:
    """What stands in a folder of Python files, where tests/models is read by the rules of the room models."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        inside = path.relative_to(ROOT / folder)
        if path != Path(__file__):
            yield from in_code(str(path.relative_to(ROOT)), inside.parts[0], path.read_text())
            for term in private_names(inside.parts[0], inside.stem):
                if term.prose:
                    yield str(path.relative_to(ROOT)), 0, inside.stem, term.instead


def in_notebooks(folder: str) -> Iterator[tuple[str, int, str, str]]:
    for path in sorted((ROOT / folder).rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        for number, cell in enumerate(json.loads(path.read_text())["cells"]):
            source, where = "".join(cell["source"]), f"{path.relative_to(ROOT)}, cell {number}"
            if cell["cell_type"] == "code":
                yield from in_code(where, folder, re.sub(r"^[%!].*", "", source, flags=re.M))
            else:
                for line, text in enumerate(source.splitlines(), 1):
                    quoted = " ".join(re.findall(r"`[^`]*`", text))
                    yield from (
                        (where, line, word, term.instead)
                        for word, term in private_words(folder, quoted)
                    )


def hits(room: str) -> list[str]:
    """Each private word of a room, with its place and the field's word."""
    if room in PAGES:
        found = in_page(room, room, (ROOT / room).read_text())
    elif room == "notebooks":
        found = in_notebooks(room)
    else:
        found = in_folder(room) if room in FOLDERS else in_package(room)
    return [
        f"{where}:{line}: {word} -> {instead}" for where, line, word, instead in sorted(set(found))
    ]


def rooms() -> list[str]:
    inside = {
        path.relative_to(ROOT / "minildm").parts[0].removesuffix(".py")
        for path in (ROOT / "minildm").rglob("*.py")
    }
    return [*sorted(inside), *(name for name in (*PAGES, *FOLDERS) if (ROOT / name).exists())]


if __name__ == "__main__":
    asked = sys.argv[1:] or rooms()
    found = {room: hits(room) for room in asked}
    if sys.argv[1:]:
        print("\n".join(line for lines in found.values() for line in lines))
    print(
        ", ".join(f"{room} {len(lines)}" for room, lines in found.items()),
        "| all",
        sum(map(len, found.values())),
    )
