"""The embedded server: every way in which tests and the demo start one, and every way in which it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from demo import daemon
from demo.mongod import (
    BinaryMissing,
    LibraryMissing,
    Mongod,
    PortBusy,
    StartFailed,
    find_binary,
    free_port,
    initiate_set,
)


def test_the_shared_server_is_a_replica_set_with_change_streams(database):
    with database.pets.watch(max_await_time_ms=200) as stream:
        database.pets.insert_one({"_id": 1})
        assert stream.next()["fullDocument"] == {"_id": 1}


def test_data_survive_a_kill_and_a_changed_port(tmp_path):
    with Mongod(tmp_path / "db") as server:
        first_port = server.port
        with server.client() as client:
            client.demo.pets.insert_one({"_id": 1})
        server.kill()
        server.port = 0
        server.start()
        assert server.port != first_port
        with MongoClient(server.uri) as client:
            assert client.demo.pets.find_one() == {"_id": 1}
            client.demo.pets.insert_one({"_id": 2})


def test_access_control_refuses_strangers_and_survives_a_restart(tmp_path):
    with Mongod(tmp_path / "db", auth=("admin", "p@ss/word")) as server:
        server.stop()
        server.start()
        with MongoClient(server.uri) as client:
            client.demo.pets.insert_one({"_id": 1})
        with server.client(login=False) as stranger, pytest.raises(OperationFailure, match="auth"):
            stranger.demo.pets.find_one()


def test_three_members_elect_a_primary_and_replicate(tmp_path):
    members = [Mongod(tmp_path / str(number), initiate=False) for number in range(3)]
    try:
        for member in members:
            member.start()
        initiate_set(members)
        with members[0].client(direct=False, w=3) as client:
            client.demo.pets.insert_one({"_id": 1})
            assert len(client.nodes) >= 1
    finally:
        for member in members:
            member.stop()


def test_tls_is_required_when_asked_for(tmp_path):
    certificate = tmp_path / "server.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made += ["-addext", "subjectAltName=IP:127.0.0.1"]
    key, public = tmp_path / "key.pem", tmp_path / "ca.pem"
    subprocess.run([*made, "-keyout", key, "-out", public], check=True, capture_output=True)
    certificate.write_text(key.read_text() + public.read_text())
    extra = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(certificate)]
    extra += ["--tlsCAFile", str(public), "--tlsAllowConnectionsWithoutCertificates"]
    options = {"tls": True, "tlsCAFile": str(public)}
    with Mongod(tmp_path / "db", extra=extra, client_options=options) as server:
        with server.client(direct=False) as client:
            assert client.admin.command("ping")["ok"] == 1
        with (
            MongoClient(server.address, directConnection=True, serverSelectionTimeoutMS=500) as plain,
            pytest.raises(ServerSelectionTimeoutError),
        ):
            plain.admin.command("ping")


def test_a_busy_port_is_named(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortBusy, match=rf"port {port} .* taken(.|\n)*Next: "):
            Mongod(tmp_path / "db", port).start()


def test_a_taken_port_is_not_given(monkeypatch):
    free = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        monkeypatch.setattr("demo.mongod.PORTS", [other.getsockname()[1]] * 9 + [free])
        assert free_port() == free


def test_a_missing_binary_is_explained(monkeypatch):
    monkeypatch.setattr("demo.mongod.DISTRIBUTIONS", ("no-such-distribution",))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BinaryMissing, match=r"no such program(.|\n)*PATH \(/nowhere\)(.|\n)*MONGODB_URI"):
        find_binary()


def test_a_missing_shared_library_is_named_with_its_package(tmp_path):
    fake = tmp_path / "mongod"
    # What the dynamic loader says and how it ends, from a program that only says it.
    fake.write_text(
        "#!/bin/sh\n"
        "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open it' >&2\n"
        "exit 127\n"
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(LibraryMissing, match=r"libcurl\.so\.4(.|\n)*apt-get install libcurl4"):
        Mongod(tmp_path / "db", binary=fake).start()


def test_an_argument_that_mongod_refuses_is_shown(tmp_path):
    with pytest.raises(StartFailed, match="noSuchOption"):
        Mongod(tmp_path / "db", extra=["--noSuchOption"]).start()


@pytest.fixture
def directory(tmp_path):
    yield tmp_path / "mongo"
    daemon.stop_running(tmp_path / "mongo")


def test_commands_at_once_start_one_server_between_them(directory):
    command = [sys.executable, "-m", "demo.daemon", "start", "--directory", str(directory)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = {process.communicate(timeout=600)[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(told) == 1
    with MongoClient(told.pop()) as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_killed_server_and_a_torn_state_file_are_not_believed(directory):
    before = daemon.ensure_running(directory)
    assert daemon.ensure_running(directory) == before
    state = directory / "state.json"
    pid = json.loads(state.read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    daemon.ensure_running(directory)
    assert json.loads(state.read_text())["pid"] != pid
    assert daemon.stop_running(directory)
    state.write_text('{"pid": 1, "po')
    assert not daemon.stop_running(directory)


def test_a_state_file_that_names_another_server_is_not_believed(directory, mongo_uri):
    port = int(mongo_uri.split(":")[2].split("/")[0])
    directory.mkdir()
    (directory / "state.json").write_text(json.dumps({"pid": os.getpid(), "port": port, "uri": mongo_uri}))
    assert not daemon.stop_running(directory)


def test_the_command_line_reports_a_busy_port(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        environment = {**os.environ, daemon.PORT_VARIABLE: str(other.getsockname()[1])}
        command = [sys.executable, "-m", "demo.daemon", "start", "--directory", str(tmp_path)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: port ")
    assert "Traceback" not in ended.stderr
