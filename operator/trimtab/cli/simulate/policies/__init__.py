"""Policies to compare: each decides from what a controller in its place would see."""
