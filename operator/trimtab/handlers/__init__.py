"""Kopf, and nothing but Kopf: handlers wake keys, one reconcile per key decides."""
