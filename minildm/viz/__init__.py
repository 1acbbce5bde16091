"""Figures and widgets: what they share, those of each chapter, and the trajectory explorer."""
