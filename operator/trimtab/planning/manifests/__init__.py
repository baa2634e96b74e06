"""Decisions as Kubernetes objects: plain dicts, shaped like the YAML they become."""
