"""The order of the tests, the longest files first, so that no core waits; and no cell may warn."""

import pytest

SECONDS = {"slow": 15.0, "browser": 8.0, "notebook": 20.0}  # about; of a notebook as a whole


def seconds(item: pytest.Item) -> float:
    """About how long a test takes, from its marks."""
    return 0.2 + sum(SECONDS[mark.name] for mark in item.iter_markers() if mark.name in SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lengths: dict[str, float] = {}
    for item in items:
        path = str(item.path)
        start = SECONDS["notebook"] if path.endswith(".ipynb") else 0.0
        lengths[path] = lengths.get(path, start) + seconds(item)
    items.sort(key=lambda item: -lengths[str(item.path)])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """A cell of a notebook must not write to stderr, which nbval lets pass."""
    yield
    outputs = getattr(item, "test_outputs", None) or ()
    warned = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not warned, warned
