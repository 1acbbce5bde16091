"""Optimal control: systems, costs-to-go, feedback laws, and the bridges between laws."""
