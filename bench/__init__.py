"""Benchmarks, each re-runnable by one command; figures are noisy, so what is compared runs in one run."""
