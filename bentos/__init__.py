"""Everything that scores: the one scoring path and its transports."""
