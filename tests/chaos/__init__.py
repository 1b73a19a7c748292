"""Faults by seed on the real stack, and a checker that knows nothing of the implementation."""
