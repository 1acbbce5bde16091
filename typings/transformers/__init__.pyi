# What minildm uses of transformers. The library's own annotations take the type checker a minute to read.
from typing import Any

class AutoModel:
    @staticmethod
    def from_pretrained(name: str, **options: Any) -> Any: ...
