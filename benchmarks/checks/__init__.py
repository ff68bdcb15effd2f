"""The check at a checkout beside what its server, its database and its node can do at best."""
