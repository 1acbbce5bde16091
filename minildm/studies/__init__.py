"""Studies of the book: one file each, named after its chapter, with what it measured in `results`.

A module with a function `run` is a study: `minildm study NAME` calls it.
"""
