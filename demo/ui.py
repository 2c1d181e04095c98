"""`make ui`: MongoDB with the demo's documents, and Dagster's UI over this code location."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from pymongo import MongoClient

from demo import home
from demo.daemon import ensure_running
from demo.mongod import MongodError, free_port, port_is_busy
from demo.seed import seed

URI = "MONGODB_URI"
PORT = 3000


def main(arguments: list[str] | None = None) -> None:
    """Start what is needed, print the address, run `dg dev` until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m demo.ui", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=0, help=f"port of the UI; {PORT}, or a free one, by default"
    )
    chosen = parser.parse_args(arguments)
    home.enter()
    if URI not in os.environ:
        try:
            os.environ[URI] = ensure_running()
        except MongodError as error:
            sys.exit(f"error: {error}")
        with MongoClient[dict[str, object]](os.environ[URI]) as client:
            seed(client)
    port = chosen.port or (free_port() if port_is_busy(PORT) else PORT)
    print(f"Dagster: open http://127.0.0.1:{port} in a few seconds; Ctrl-C ends it, `make stop` ends MongoDB")
    sys.stdout.flush()
    become_dg_dev(port)


def become_dg_dev(port: int) -> NoReturn:
    """Replace this process, so that what is sent to it reaches Dagster."""
    dg = Path(sys.executable).with_name("dg")
    os.execv(dg, [str(dg), "dev", "--host", "127.0.0.1", "--port", str(port)])


if __name__ == "__main__":
    main()
