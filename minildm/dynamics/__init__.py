"""A field, a start, a recorded path."""
