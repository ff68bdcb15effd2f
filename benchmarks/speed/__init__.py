"""How fast mints are sent and logs are indexed, beside what others do and what the node itself can, in one run."""
