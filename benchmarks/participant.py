"""A participant of a benchmark of loaders: a process that is asked by lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import Any

from benchmarks.harness import ROOT


class Child:
    """A participant in a process of its own that answers lines of JSON; started when it is first asked.

    Between two commands the process and its workers are stopped: who is measured has the processors alone.
    """

    def __init__(self, *command: object) -> None:
        self._arguments = [str(part) for part in command]
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **command: Any) -> float:
        """Run one command and give its value; RuntimeError when the participant fails."""
        return float(self.answer(**command)["value"])

    def _environment(self) -> dict[str, str]:
        """Give what an installed package has: modules that are compiled once, not at every start."""
        given = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return given | {"PYTHONWARNINGS": "ignore"}

    def answer(self, **command: Any) -> dict[str, Any]:
        """Run one command and give all that it answers; RuntimeError when the participant fails."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
                env=self._environment(),
                start_new_session=True,
            )
        os.killpg(self._process.pid, signal.SIGCONT)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"ended with {self._process.wait()}"}
        if not line:
            self.close()
        else:
            os.killpg(self._process.pid, signal.SIGSTOP)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def again(self) -> Child:
        """Give the same participant in another process."""
        return Child(*self._arguments)

    def close(self) -> None:
        """End the process, and the workers that it has left."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
