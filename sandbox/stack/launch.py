"""Becomes a child of the stack: takes its user, ties its life to the supervisor's, and executes its command.

    python -I -S launch.py SUPERVISOR_PID SIGNAL UID GID COMMAND…

Driven by `sandbox.stack.process`, as a script of its own and not as a `preexec_fn`, because the supervisor has threads
(librdkafka, the terminal) and Python code between fork and exec can deadlock then. Reads and writes nothing.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    supervisor_pid, signal_number, uid, gid = (int(argument) for argument in arguments[:4])
    if uid >= 0:
        os.umask(0o077)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user, which clears it.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        sys.exit(f"cannot set the parent-death signal: {os.strerror(ctypes.get_errno())}")
    # The supervisor may have died before the signal was set; then nobody would ever send it.
    if os.getppid() != supervisor_pid:
        sys.exit("the supervisor has ended")
    os.execvp(arguments[4], arguments[4:])


if __name__ == "__main__":
    main(sys.argv[1:])
