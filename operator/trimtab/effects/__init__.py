"""Does what a plan says: the only code of the operator that talks to anything."""
