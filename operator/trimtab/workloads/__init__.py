"""What runs in the pods that are started for a model."""
