"""Tales and other corpora, tokenizers, and batches of tokens."""
