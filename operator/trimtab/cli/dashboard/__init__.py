"""A read-only page that shows what every model is, and how it came there."""
