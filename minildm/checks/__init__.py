"""Checks of the exercises: each takes the reader's function and prints a verdict; one file a
chapter.
"""
