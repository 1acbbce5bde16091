"""The order of the tests: the longest files first, so that all cores are busy to the end."""

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
