"""The four models, each built from what packages ship."""
