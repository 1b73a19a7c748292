"""Fixtures for all tests; each harness module is a plugin of its own."""

pytest_plugins = ["tests.harness.stack"]
