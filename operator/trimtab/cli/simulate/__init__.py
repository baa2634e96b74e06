"""The simulator behind `trimtab simulate`: the operator's own decisions on traces, their cost and violations."""
