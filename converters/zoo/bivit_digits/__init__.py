"""Handwritten digits read by a binary vision transformer."""
