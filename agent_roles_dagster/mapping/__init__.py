"""From staged days to the mapping."""
