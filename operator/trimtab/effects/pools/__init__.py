"""Who makes nodes: one module per provider, the task that keeps each pool, and the queues that announce losses."""
