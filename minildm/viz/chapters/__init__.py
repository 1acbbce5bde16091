"""The figures and widgets of each chapter, one file a chapter."""
