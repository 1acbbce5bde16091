# What minildm uses of transformers, whose own annotations take a type checker a minute to read.
from typing import Any

class AutoModel:
    @staticmethod
    def from_pretrained(name: str, **options: Any) -> Any: ...
