"""Language models: one protocol, complete systems."""
