"""Studies of the book: one file each, named after its chapter, with what it measured in `results`."""
