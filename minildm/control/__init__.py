"""Systems, feedback policies and what they cost."""
