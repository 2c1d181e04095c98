"""`make demo`: MongoDB, Dagster, shards, training, a report; any failure is an exit code other than zero."""

from __future__ import annotations

import os
import sys
import time

from pymongo import MongoClient

from demo import home
from demo.daemon import ensure_running
from demo.mongod import MongodError
from demo.report import Outcome, outcome, table
from demo.seed import DATABASE, seed
from demo.training import TrainingFailed, train

URI = "MONGODB_URI"
FLOORS = {"digits": 0.97, "tumors": 0.95}


def main() -> int:
    """Run the whole way once; 0 when every part worked and every accuracy reached its floor."""
    home.enter()
    try:
        outcomes = run()
    except (MongodError, TrainingFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\n{table(outcomes)}")
    low = [one.dataset for one in outcomes if not one.good]
    if low:
        print(f"error: accuracy below the floor: {', '.join(low)}", file=sys.stderr)
        return 1
    root = os.environ.get("SHARDS_ROOT") or "data/shards"
    print(f"\nNext: `make ui` shows it all in Dagster, `.venv/bin/python -m shards ls {root}` lists it.")
    return 0


def run() -> list[Outcome]:
    """Seed, materialize and train every shipped dataset."""
    if URI in os.environ:
        say(f"MongoDB: the server that {URI} names")
    else:
        say("MongoDB: starting the embedded server, or finding it")
        os.environ[URI] = ensure_running()
    started = time.perf_counter()
    with MongoClient[dict[str, object]](os.environ[URI]) as client:
        seeded = {one.collection: one for one in seed(client)}
        num_documents = {name: client[DATABASE][name].estimated_document_count() for name in seeded}
    say(f"seeded {sum(num_documents.values()):,} documents in {time.perf_counter() - started:.1f} s")

    # Imported only now: Dagster takes a second, and definitions read the environment.
    import dagster as dg

    from assets.resources import shards
    from assets.spec.load import load_specs
    from demo.pipeline import materialize

    outcomes = []
    for dataset, floor in FLOORS.items():
        say(f"{dataset}: materializing all assets through Dagster")
        (spec,) = load_specs(home.ROOT / "assets" / "defs" / dataset / "defs.yaml")
        with dg.DagsterInstance.get() as instance:
            seconds = materialize(spec, instance)
        say(f"{dataset}: training")
        started = time.perf_counter()
        trained = train(dataset)
        seconds["training"] = time.perf_counter() - started
        store = shards().open()
        outcomes.append(outcome(store, dataset, num_documents[dataset], seconds, trained, floor))
    return outcomes


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
