"""The best recipe, found: which ones there are, how they are tried, and which of them is chosen."""
