"""The examples over an address: SHARDS_ROOT is all that changes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from shards.remote.storage import ObjectStorage
from tests.integration.loaders.test_examples import ROOT, run
from tests.unit.loaders import datasets

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]


@pytest.fixture
def root(url: str, tmp_path: Path) -> str:
    """Address of a root, the copy of one in a directory."""
    storage = ObjectStorage(url)
    datasets.demo(tmp_path / "shards", 300)
    for path in (tmp_path / "shards").rglob("*"):
        if path.is_file():
            with contextlib.closing(storage.create(str(path.relative_to(tmp_path / "shards")))) as file:
                file.write(path.read_bytes())
                file.sync()
    return url


@pytest.mark.parametrize(
    ("script", "before", "options", "said"),
    [
        ("train_digits.py", [], [], "test accuracy"),
        ("train_tumors.py", [], [], "test accuracy"),
        (
            "serve_fits.py",
            [],
            ["--cache", "elsewhere"],
            "the exported service agrees with training on 3 rows",
        ),
        ("train_lightning.py", [], ["--epochs", "1", "--directory", "logs"], "8 steps"),
        ("torchrun_resume.py", TORCHRUN, ["--epochs", "1", "--checkpoint", "run.pt"], "8 steps"),
    ],
)
def test_examples(
    script: str, before: list[str], options: list[str], said: str, root: str, tmp_path: Path
) -> None:
    if "lightning" in script:
        pytest.importorskip("lightning", reason="lightning is not installed")
    work = tmp_path / "work"
    work.mkdir()
    assert said in run([*before, str(ROOT / "examples" / script), *options], work, root)
    cache = work / ("elsewhere" if "--cache" in options else "data/cache")
    assert list((cache / "files").iterdir())
