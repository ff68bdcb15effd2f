"""Other people's servers: where they may be, and what is said to them."""
