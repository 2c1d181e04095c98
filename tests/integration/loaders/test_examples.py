"""The examples run as they stand: torchrun with a death and a resume, Lightning, serving."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.loaders import datasets

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of datasets as those of the demo, with 240 rows each for training."""
    root = tmp_path_factory.mktemp("examples")
    datasets.demo(root, 300)
    return root


def run(arguments: list[str], folder: Path, root: Path | str, *, code: int = 0, **environment: str) -> str:
    """Run a script in a folder, with the shards below `root`; give what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SHARDS_ROOT": str(root)}
        | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode == 0) == (code == 0), done.stderr[-3000:]
    return done.stdout


def labels(folder: Path, log: str, num_ranks: int) -> list[list[str]]:
    """Read what each rank saw, by step."""
    return [(folder / f"{log}.{rank}").read_text().splitlines() for rank in range(num_ranks)]


def test_torchrun_goes_on_after_a_death(root: Path, tmp_path: Path) -> None:
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(ROOT / "examples/torchrun_resume.py"), "--epochs", "2"]
    whole = [*start, *script, "--checkpoint", "whole.pt", "--seen", "whole"]
    assert run(whole, tmp_path, root).startswith("8 steps")
    broken = [*start, *script, "--checkpoint", "broken.pt", "--seen", "broken"]
    run(broken, tmp_path, root, code=1, DIE_AT_STEP="3")
    assert run(broken, tmp_path, root).startswith("8 steps")
    assert labels(tmp_path, "broken", 2) == labels(tmp_path, "whole", 2)


def test_lightning_resumes_at_the_batch(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="lightning is not installed")
    script = [str(ROOT / "examples/train_lightning.py")]
    run([*script, "--directory", "a", "--log", "whole"], tmp_path, root)
    run([*script, "--directory", "b", "--every", "3", "--steps", "5"], tmp_path, root)
    run([*script, "--directory", "b", "--resume", "b/last.ckpt", "--log", "rest"], tmp_path, root)
    whole, rest = ((tmp_path / name).read_text().splitlines() for name in ("whole", "rest"))
    assert len(whole) == 16
    assert rest == whole[3:]


def test_serving_agrees_with_training(root: Path, tmp_path: Path) -> None:
    done = run([str(ROOT / "examples/serve_fits.py")], tmp_path, root)
    assert done == "the exported service agrees with training on 3 rows\n"
