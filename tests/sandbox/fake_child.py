"""A child for tests of the supervisor: answers GET /readyz on a port and does what its options say.

Writes its name into a timeline file when it is asked to end. Run as a script by `fake_stack`.
"""

from __future__ import annotations

import argparse
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType


class Ready(http.server.BaseHTTPRequestHandler):
    """Answers every request with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        pass


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--timeline", type=Path, required=True)
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--ends", action="store_true", help="end with status 7 at once")
    parser.add_argument("--grandchild", action="store_true", help="start a process in a session of its own")
    options = parser.parse_args()

    def note(what: str) -> None:
        with options.timeline.open("a") as file:
            file.write(f"{what} {options.name}\n")

    def end(number: int, frame: FrameType | None) -> None:
        note("end")
        if not options.stubborn:
            os._exit(0)

    note("start")
    signal.signal(signal.SIGTERM, end)
    if options.ends:
        print("the reason why it ends")
        sys.exit(7)
    if options.grandchild:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    if not options.never_ready:
        server = http.server.HTTPServer(("127.0.0.1", options.port), Ready)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
