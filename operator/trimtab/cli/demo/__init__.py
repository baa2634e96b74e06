"""`trimtab demo`: the customer, the cluster, the load, and what a person sees of them."""
