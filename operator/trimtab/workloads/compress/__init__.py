"""The compression Job: from a source and a recipe to an artifact with a verdict."""
