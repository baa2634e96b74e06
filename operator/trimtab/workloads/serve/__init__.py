"""The serving pod: one model over HTTP, batched, measured, drained."""
