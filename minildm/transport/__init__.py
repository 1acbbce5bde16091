"""Paths from noise to data, and how to draw time on them."""
