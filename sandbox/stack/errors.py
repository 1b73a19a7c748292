"""The errors of the local stack. Each message is one sentence for the person at the terminal, with the remedy."""

__all__ = ["AlreadyRunning", "NotReady", "StackError", "Unfit"]


class StackError(Exception):
    """The stack cannot be started, asked or stopped."""


class Unfit(StackError):
    """The machine lacks something: Python, memory, disk, a file that `make` fetches, a user."""


class AlreadyRunning(StackError):
    """Another stack holds the directory."""


class NotReady(StackError):
    """A child or task did not come up."""
