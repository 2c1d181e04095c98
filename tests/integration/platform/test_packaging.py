"""The wheel that a user installs: what is in it, and that its base is enough for a training job.

The environments are real and empty but for the wheel; the packages that it depends on are linked from the
environment of this test, so that nothing is downloaded.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
ABSENT = ["dagster", "pymongo", "bson", "pydantic"]

pytestmark = pytest.mark.xdist_group("packaging")

READS_AND_WRITES = """
import importlib, importlib.util, pkgutil, sys
for name in {absent!r}:
    assert importlib.util.find_spec(name) is None, name
import loaders, shards
for package in {packages!r}:
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
import numpy as np
store = shards.ShardStore(sys.argv[1])
with store.begin("pets", "records") as attempt:
    writer = attempt.column(shards.Column("age", "npy", "<f4"))
    writer.append(np.arange(10, dtype="<f4"))
    attempt.commit(provenance=shards.Provenance())
assert store.latest("pets", "records").column("age").read(2, 4).tolist() == [2.0, 3.0]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(directory), str(source)], check=True, capture_output=True)
    (built,) = directory.glob("shardmill-*.whl")
    return built


def environment(directory: Path, wheel: Path, *extras: str) -> Path:
    """Make an environment with the wheel and what it requires; give its python."""
    venv.create(directory, with_pip=False, symlinks=True)
    python = directory / "bin" / "python"
    site = next((directory / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        required = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []
    for requirement in required:
        link(Requirement(requirement), extras, site, set())
    # Without an index pip installs the wheel only if all that it requires is there in a fitting version.
    wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "install", "--no-index"]
    subprocess.run([*pip, "--no-cache-dir", wanted], check=True, capture_output=True, text=True)
    return python


def link(requirement: Requirement, extras: tuple[str, ...], site: Path, seen: set[str]) -> None:
    """Link the files of an installed distribution, and of what it requires, into `site`."""
    wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
    if requirement.marker and not any(requirement.marker.evaluate(values) for values in wanted):
        return
    key = re.sub(r"[-_.]+", "-", requirement.name).lower()
    if key in seen:
        return
    seen.add(key)
    try:
        found = distribution(requirement.name)
    except PackageNotFoundError:  # wanted on another platform; pip will say so if it is wanted here
        return
    tops = {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    for inner in found.requires or []:
        link(Requirement(inner), (), site, seen)


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = Parser().parsestr(
            archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
        )
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"assets", "shards", "loaders"}
    assert {f"{package}/py.typed" for package in ("assets", "shards", "loaders")} <= set(names)
    assert "assets/defs/digits/defs.yaml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert metadata["Name"] == "shardmill"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"torch", "pipeline", "demo", "dev", "bench"} <= set(metadata.get_all("Provides-Extra"))


def test_the_base_install_reads_and_writes_shards_without_torch(wheel, tmp_path):
    python = environment(tmp_path / "env", wheel)
    program = READS_AND_WRITES.format(absent=[*ABSENT, "torch"], packages=["shards"])
    subprocess.run([python, "-c", program, tmp_path / "shards"], check=True, cwd=tmp_path)


def test_loaders_without_torch_say_what_to_install(wheel, tmp_path):
    python = environment(tmp_path / "env", wheel)
    program = "import loaders; loaders.ShardDataset"
    ended = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "shardmill[torch]" in ended.stderr


def test_a_training_job_needs_neither_dagster_nor_pymongo(wheel, tmp_path):
    python = environment(tmp_path / "env", wheel, "torch")
    program = READS_AND_WRITES.format(absent=ABSENT, packages=["shards", "loaders"])
    subprocess.run([python, "-c", program, tmp_path / "shards"], check=True, cwd=tmp_path)
