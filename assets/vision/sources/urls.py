"""Reading an address strictly: one spelling for everything, nothing that two readers could differ on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from assets.vision.errors import FetchError

_MAX_CHARACTERS: Final = 4096
_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)\.?"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>(?:/[!$&'()*+,;=:@A-Za-z0-9._~%/-]*)?(?:\?[!$&'()*+,;=:@A-Za-z0-9._~%/?-]*)?)"
    r"(?:#[!-~]*)?",
    re.IGNORECASE,
)
_LAST_LABEL_OF_AN_ADDRESS: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Url:
    """An address that was read: lower-case scheme and host, port, path with query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host, with the port unless it is the scheme's own."""
        return self.host if self.port == _port(self.scheme) else f"{self.host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.authority}{self.target}"


def read_url(text: str, hosts: frozenset[str]) -> Url:
    """Read an http or https address whose host is one of the declared ones.

    Raises
    ------
    FetchError
        `refused` for anything else: other schemes, user names, addresses instead of names, control
        characters, backslashes, hosts that are not declared.
    """
    if len(text) > _MAX_CHARACTERS:
        raise FetchError("refused", expected=f"at most {_MAX_CHARACTERS} characters", got=f"{len(text)}")
    match = _URL.fullmatch(text)
    if match is None:
        raise FetchError("refused", expected="a plain http or https address", got="another spelling")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if _LAST_LABEL_OF_AN_ADDRESS.fullmatch(host.rpartition(".")[2]):
        raise FetchError("refused", expected="a declared host name", got="a numeric address")
    if host not in hosts:
        raise FetchError("refused", expected="a declared host", got="another host")
    port = int(match["port"]) if match["port"] else _port(scheme)
    if not 0 < port < 65_536:
        raise FetchError("refused", expected="a port from 1 to 65535", got=str(port))
    target = match["target"] or "/"
    return Url(scheme, host, port, target if target.startswith("/") else f"/{target}")


def redirected(url: Url, location: str, hosts: frozenset[str]) -> Url:
    """Read the address that a redirect names; it is held to the same rules, and never leaves https.

    Raises
    ------
    FetchError
        `refused`, as `read_url`.
    """
    if any(letter <= " " or letter > "~" or letter == "\\" for letter in location):
        raise FetchError("refused", expected="a plain redirect", got="another spelling")
    target = read_url(urljoin(url.text, location), hosts)
    if url.scheme == "https" and target.scheme == "http":
        raise FetchError("refused", expected="a redirect to https", got="one to http")
    return target


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
