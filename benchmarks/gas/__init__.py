"""Gas of our contracts beside their peers, on one chain. docs/benchmarks.md says what each row means."""
