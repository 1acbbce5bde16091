"""Checks of the exercises: each runs the reader's function and prints a verdict."""
