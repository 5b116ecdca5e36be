"""Published studies, rerun: one module each; `python -m experiments.reproduce` is the command."""
