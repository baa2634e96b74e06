"""Trimtab: one object in, a served model out."""

from trimtab.version import __version__

__all__ = ["__version__"]
