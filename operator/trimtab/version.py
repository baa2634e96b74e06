"""The one place that says which version this is; artifacts and run keys carry it."""

__version__ = "0.1.0"
