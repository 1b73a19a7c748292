"""The local stack: real Kafka, PostgreSQL and S3, the simulated card network, and Paystream's processes, as one tree.

    from sandbox.stack import Part, StackOptions, down, status, up

`up(StackOptions(...))` runs the stack in this process until it is stopped; `down(directory)` and `status(directory)`
speak to one that runs elsewhere. Each returns an exit code. `python -m sandbox.stack` is its own command line.
"""

from sandbox.stack.control import down, erase, status
from sandbox.stack.errors import StackError
from sandbox.stack.options import EVERYTHING, FLOWS, INFRASTRUCTURE, Part, StackOptions
from sandbox.stack.stack import up

__all__ = [
    "EVERYTHING",
    "FLOWS",
    "INFRASTRUCTURE",
    "Part",
    "StackError",
    "StackOptions",
    "down",
    "erase",
    "status",
    "up",
]
