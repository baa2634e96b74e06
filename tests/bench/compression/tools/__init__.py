"""What makes models smaller or faster: ours and others, each with its documented defaults."""
