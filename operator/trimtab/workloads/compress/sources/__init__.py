"""Models as users keep them: fetched, told apart, and loaded without running anything untrusted."""
