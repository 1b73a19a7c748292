"""Tests of the simulated card network."""
