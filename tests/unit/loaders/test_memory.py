"""Memory that is left, by the system and by control groups that are laid out as the kernel does."""

from __future__ import annotations

from pathlib import Path

import pytest

from loaders.memory import available_bytes

MIB = 1 << 20


def group(folder: Path, *, current: int, cached: int, limit: object, first: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if first else ("memory.max", "memory.current")
    for name, value in zip(names, (limit, current), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached - 1}\nactive_file 1\n")


def test_without_groups_the_system_decides(tmp_path: Path) -> None:
    system = available_bytes(tmp_path, tmp_path / "absent")
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 0 < system <= int(lines["MemTotal"].split()[0]) << 10
    assert available_bytes() <= int(lines["MemTotal"].split()[0]) << 10


def test_the_tightest_group_around_the_process_decides(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/jobs/one\n")
    group(tmp_path / "jobs", current=90 * MIB, cached=20 * MIB, limit=100 * MIB)
    group(tmp_path / "jobs" / "one", current=10 * MIB, cached=0, limit="max")
    group(tmp_path / "jobs" / "two", current=MIB, cached=0, limit=MIB)
    assert available_bytes(tmp_path, tmp_path / "own") == 30 * MIB
    group(tmp_path / "jobs" / "one", current=10 * MIB, cached=5 * MIB, limit=12 * MIB)
    assert available_bytes(tmp_path, tmp_path / "own") == 7 * MIB


@pytest.mark.parametrize(("limit", "expected"), [(100 * MIB, 30 * MIB), ((1 << 63) - 4096, None)])
def test_groups_of_the_first_version_count(tmp_path: Path, limit: int, expected: int | None) -> None:
    (tmp_path / "own").write_text("3:cpu,cpuacct:/elsewhere\n4:memory:/jobs\n")
    group(tmp_path / "memory" / "jobs", current=90 * MIB, cached=20 * MIB, limit=limit, first=True)
    found = available_bytes(tmp_path, tmp_path / "own")
    assert found == expected if expected else found > 100 * MIB
