"""The cells of a chapter that its widgets need: a journey waits for these alone, as nbval runs all of them."""

import ast
import symtable

WIDGET = "application/vnd.jupyter.widget-view+json"


def reads_and_gives(code: ast.AST) -> tuple[set[str], set[str]]:
    """Names of a cell that a piece of its code reads, in functions inside of it too, and those that it gives a value."""
    tables = [symtable.symtable(ast.unparse(code), "cell", "exec")]
    outer = tables[0].get_symbols()
    gives = {name.get_name() for name in outer if name.is_assigned() or name.is_imported()}
    reads = {name.get_name() for name in outer if name.is_referenced()}
    while tables := [inner for table in tables for inner in table.get_children()]:
        reads |= {
            name.get_name() for table in tables for name in table.get_symbols() if name.is_global()
        }
    return reads, gives


def changes(code: ast.AST) -> set[str]:
    """Names of things that get a new attribute or item."""
    return {
        name.id
        for place in ast.walk(code)
        if isinstance(place, ast.Attribute | ast.Subscript) and isinstance(place.ctx, ast.Store)
        for name in ast.walk(place.value)
        if isinstance(name, ast.Name)
    }


def before(statements: list[ast.stmt], wanted: set[str]) -> set[str]:
    """Names that must have a value before the statements, for `wanted` to have one after them."""
    for statement in reversed(statements):
        if isinstance(statement, ast.For):
            inner = before(statement.body, set()) - {
                name.id for name in ast.walk(statement.target) if isinstance(name, ast.Name)
            }
            wanted = wanted | inner | reads_and_gives(statement.iter)[0]
        else:
            reads, gives = reads_and_gives(statement)
            wanted = (wanted - gives) | reads
    return wanted


def needed(cells: list[dict]) -> list[dict]:
    """The code cells that show a widget in the stored outputs, those that give or change what they read, and so on.

    A cell that changes a thing by a method alone does not count.
    """
    kept, wanted = [], set()
    for cell in reversed(cells):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        given = reads_and_gives(tree)[1] | changes(tree)
        if given & wanted or any(WIDGET in output.get("data", {}) for output in cell["outputs"]):
            kept.append(cell)
            wanted = before(tree.body, wanted)
    return kept[::-1]
