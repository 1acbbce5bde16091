"""The special tokens, whose ids are the same in every vocabulary."""

SPECIALS = ("<pad>", "<bos>", "<eos>", "<mask>")
NUM_SPECIALS = len(SPECIALS)  # ids from here on stand for text
PAD, BOS, EOS, MASK = range(NUM_SPECIALS)
