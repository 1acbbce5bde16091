# What minildm uses of datasets.
from typing import Any

def load_dataset(name: str, *, split: str, streaming: bool) -> Any: ...
