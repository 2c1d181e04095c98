"""Imports point one way: the format knows nobody, the loader only the format, the builds no Dagster."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILDS = {"assets.spec", "assets.mongo", "assets.vision", "assets.columns"}

# Third-party modules that a package may import; those of the second set only inside of a function or a `try`,
# by features that do without or say what to install.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "shards": ({"numpy", "pyarrow", "xxhash"}, {"PIL", "obstore"}),
    "loaders": (
        {"numpy", "pyarrow", "xxhash", "torch", "shards"},
        {"PIL", "simplejpeg", "matplotlib", "IPython"},
    ),
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Give the full name of every module that a file imports, and whether inside a function or a try."""
    tree = ast.parse(path.read_text(), path)
    inside = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = str(node.module)
            for alias in node.names:
                yield f"{module}.{alias.name}", id(node) in inside


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package.replace(".", "/")).rglob("*.py"))
    assert found, package
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_shards_and_loaders_import_what_they_may(package):
    always, lazily = ALLOWED[package]
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(package)
        for name, inside in imports(path)
        if (top := name.split(".")[0]) not in {package, *always, *sys.stdlib_module_names}
        and not (inside and top in lazily)
    ]
    assert not wrong


@pytest.mark.parametrize("package", sorted(BUILDS))
def test_builds_import_neither_dagster_nor_loaders_nor_the_code_location(package):
    top_level = {path.stem for path in (ROOT / "assets").glob("*.py")} - {
        "__init__",
        "report",
        "progress",
        "plan",
        "provenance",
        "versions",
    }
    forbidden = {"dagster", "loaders", "demo", *(f"assets.{name}" for name in top_level)}
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(package)
        for name, _ in imports(path)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("package", "others", "except_for"),
    [
        (
            "assets.vision",
            ["assets.columns", "assets.mongo"],
            ["assets.mongo.fields", "assets.mongo.gridfs", "assets.columns.splits"],
        ),
        ("assets.columns", ["assets.vision", "assets.mongo"], ["assets.mongo.fields", "assets.mongo.schema"]),
        ("assets.mongo", ["assets.vision", "assets.columns"], []),
    ],
)
def test_builds_do_not_know_each_other(package, others, except_for):
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(package)
        for name, _ in imports(path)
        if name.startswith(tuple(f"{other}." for other in others)) and not name.startswith(tuple(except_for))
    ]
    assert not wrong


def test_the_demo_trains_by_loaders_and_torch_alone():
    allowed = {"loaders", "torch", "os"}
    for name in ("train_digits.py", "train_tumors.py"):
        path = ROOT / "examples" / name
        assert {module.split(".")[0] for module, _ in imports(path)} <= allowed, path
        assert len(path.read_text().splitlines()) < 60, path


@pytest.mark.parametrize(
    ("package", "hidden"),
    [
        ("shards", ["dagster", "pymongo", "bson", "torch", "assets", "loaders"]),
        ("loaders", ["dagster", "pymongo", "bson", "assets", "PIL", "matplotlib"]),
    ],
)
def test_every_module_is_importable_without(package, hidden):
    program = f"""
import importlib, pkgutil, sys
for name in {hidden!r}:
    sys.modules[name] = None
import {package}
for found in pkgutil.walk_packages({package}.__path__, "{package}."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
