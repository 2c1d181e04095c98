"""Microsoft's emulator of Azure Blob Storage, where npm has brought it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
import time
import urllib.request
from email.utils import formatdate
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VERSION = "3.37.0"
INSTALL = f"npm install --prefix .venv/azurite azurite@{VERSION}"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account of every installation of the emulator, as its documentation gives it; no secret."""
CONTAINER = "shards-test"


def program() -> str | None:
    """Path of the emulator, or None."""
    return shutil.which("azurite-blob", path=f"{ROOT}/.venv/azurite/node_modules/.bin") or shutil.which(
        "azurite-blob"
    )


class Azurite:
    """The emulator on a free port, with one container; everything is in its memory."""

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [path, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        told = []
        for line in self._process.stdout:
            told.append(line)
            if "successfully listens on" in line:
                self.endpoint = f"{line.split()[-1]}/{ACCOUNT}"
                break
        else:
            raise RuntimeError(f"{path} ended: {''.join(told)}")
        self._make_container()

    def _make_container(self) -> None:
        date, version = formatdate(time.time(), usegmt=True), "2021-08-06"
        signed = (
            f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n"
            f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        )
        digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
            "Content-Length": "0",
        }
        url = f"{self.endpoint}/{CONTAINER}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=10).close()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
