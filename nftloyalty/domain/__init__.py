"""The rules, pure: no clock, randomness, database, network or environment. Time and codes are arguments."""
