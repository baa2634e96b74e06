"""What users write and read: the typed API, conditions and reasons, names and labels, quantities."""
