"""One stack by the pulumi CLI, in the working directory: its configuration, outputs, state, preview and update."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encryptdb.controller.waiting import Reporter
from encryptdb.stacks.contract.errors import AGAIN, Failed, NotYet, Problem, Refused, Usage

READ_SECONDS = 300
"""For one command that only reads."""
INTERRUPT_SECONDS = 60
"""For an update that was interrupted to end; after that it is killed."""


@dataclass(frozen=True)
class Stack:
    """Every method raises Failed where the CLI fails, Usage where it is not on the PATH."""

    name: str
    reporter: Reporter

    @property
    def file(self) -> Path:
        return Path("stacks") / f"Pulumi.{self.name}.yaml"

    def select(self, secrets_provider: str | None) -> None:
        """Select the stack; make it, with that secrets provider, if it does not exist."""
        provider = [] if secrets_provider is None else ["--secrets-provider", secrets_provider]
        self._ask("pulumi cannot select the stack.", "stack", "select", "--create", *provider)

    def setting(self, key: str) -> str:
        """What the stack's file says, or Pulumi.yaml's default."""
        return self._ask("pulumi does not tell the stack's configuration.", "config", "get", f"encryptdb:{key}").strip()

    def outputs(self) -> str:
        """The outputs as JSON; `{}` before the first update."""
        return self._ask("pulumi does not tell the stack's outputs.", "stack", "output", "--json")

    def was_cut_off(self) -> bool:
        """Whether an update was cut off while it made something."""
        return cut_off(json.loads(self._ask("pulumi does not give the stack's state.", "stack", "export")))

    def recover(self) -> None:
        """Take over what an update that was cut off had begun. Raises NotYet while AWS is still making it."""
        command = [sys.executable, "-m", "encryptdb.stacks", "recover", "--stack", self.name, "--cancel"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        for line in done.stderr.splitlines():
            self.reporter.say(line)
        if done.returncode:
            kinds: Mapping[int, type[Problem]] = {2: Usage, 3: NotYet, 4: Refused}
            message, _, hint = done.stderr.strip().partition("\nWhat to do: ")
            raise kinds.get(done.returncode, Failed)(message, hint=hint or None)

    def cancel(self) -> None:
        """Remove the lock that an earlier job left. It fails where there is none, which is as good."""
        with contextlib.suppress(Failed):
            self._ask("", "cancel", "--yes")

    def preview(self, phase: str) -> tuple[dict[str, Any], bool]:
        """What an update would change, as `pulumi preview --json` prints it, and whether the preview succeeded."""
        with self._in_phase(phase) as options:
            done = self._run("preview", "--json", *options)
        self.reporter.say(done.stderr.strip() or f"previewed phase {phase}")
        try:
            return dict(json.loads(done.stdout)), done.returncode == 0
        except ValueError:
            return {}, False

    def up(self, phase: str) -> str:
        """Update the stack in this phase; the counts as the CLI prints them, such as `+ 3 created, 8 unchanged`.

        Interrupted, it interrupts the CLI and waits for it: what AWS has begun is then in the state."""
        self.reporter.say(f"pulumi up in phase {phase}")
        printed: list[str] = []
        with self._in_phase(phase) as options, self._started("up", "--yes", *options) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    printed.append(line)
                    self.reporter.say(line.rstrip())
                status = process.wait()
            except KeyboardInterrupt:
                # Once: a second SIGINT tells the CLI not to clean up.
                process.send_signal(signal.SIGINT)
                try:
                    process.communicate(timeout=INTERRUPT_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                raise
        if status:
            raise Failed(
                f"pulumi up in phase {phase} failed with status {status}.",
                detail=" ".join(errors("".join(printed))) or None,
                hint=f"Correct what it names, then: {AGAIN}",
            )
        return counts("".join(printed))

    def _ask(self, failure: str, *command: str) -> str:
        done = self._run(*command)
        if done.returncode:
            raise Failed(
                failure,
                detail=done.stderr.strip()[-600:] or None,
                hint=f"Nothing was changed. Check its login (pulumi whoami), then: {AGAIN}",
            )
        return done.stdout

    def _run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                self._words(*command),
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=READ_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"pulumi {command[0]} did not end within {READ_SECONDS} s.", hint=AGAIN) from None

    def _started(self, *command: str) -> "subprocess.Popen[str]":
        # In a session of its own, so that Ctrl-C at the terminal does not reach it besides our signal.
        return subprocess.Popen(
            self._words(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _words(self, *command: str) -> list[str]:
        if shutil.which("pulumi") is None:
            raise Usage("The pulumi command is not on the PATH.", hint="https://www.pulumi.com/docs/install/")
        return ["pulumi", *command, "--non-interactive", "--stack", self.name]

    @contextlib.contextmanager
    def _in_phase(self, phase: str) -> Iterator[list[str]]:
        """Options that set another phase than the stack's file says. `--config` writes into the file that it is used
        with, and the checkout's has to go on saying what is wanted: so they name a copy."""
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / self.file.name
            shutil.copy(self.file, copy)
            yield ["--config-file", str(copy), "--config", f"encryptdb:phase={phase}"]


def cut_off(export: Mapping[str, Any]) -> bool:
    """Whether the state that `pulumi stack export` prints holds something half made."""
    state = export.get("deployment") or {}
    return bool(state.get("pending_operations") or any(r.get("initErrors") for r in state.get("resources") or ()))


def counts(printed: str) -> str:
    """The last block of counts that `pulumi up` printed: the preview's comes first, the update's last."""
    blocks = re.findall(r"^Resources:\n((?: +\S.*\n)+)", printed, re.MULTILINE)
    return ", ".join(" ".join(line.split()) for line in blocks[-1].splitlines()) if blocks else "nothing was changed"


def errors(printed: str) -> list[str]:
    """The errors that `pulumi up` printed, each on one line."""
    found = re.findall(r"^ *error: (.*(?:\n {4,}.*)?)", printed, re.MULTILINE)
    return [" ".join(error.split()) for error in found]
