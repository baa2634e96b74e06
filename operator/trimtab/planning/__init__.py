"""Decides, and does nothing: a snapshot in, a plan out."""
