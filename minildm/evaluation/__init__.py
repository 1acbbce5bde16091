"""How good is what a model writes."""
