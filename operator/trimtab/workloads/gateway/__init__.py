"""The gateway: HAProxy, and the agent beside it that keeps it in step with the cluster."""
