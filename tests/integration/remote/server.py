"""An S3 server in a process of its own that honours conditional writes, as few of those in packages do."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request

from demo.mongod import free_port

BUCKET = "shards-test"


class Server:
    """moto's S3 server on a free port; everything is in its memory."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{BUCKET}", method="PUT")
                urllib.request.urlopen(request, timeout=10).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
