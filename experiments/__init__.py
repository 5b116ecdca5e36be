"""The study: datasets, strategies, a compiled runner, and what is made of its records."""
