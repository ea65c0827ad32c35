"""python -m stacks recover: repair the state after a killed `pulumi up`, without a terminal."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from encryptdb.stacks.cloud.client import Aws, default_region
from encryptdb.stacks.cloud.database import BROKEN, SERVING
from encryptdb.stacks.contract.errors import AGAIN, Failed, NotYet, Problem, Refused
from encryptdb.stacks.recovery import Begun, Document, Found, begun, find, taken_over

EVERY_SECONDS = 5.0
TOLD_EVERY_SECONDS = 60.0
PULUMI_SECONDS = 1800.0
"""For one command of the CLI. None of those below makes anything, so none of them takes long."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser("python -m stacks", description="The Pulumi side's own commands.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("recover", help="take over what a killed update had begun")
    command.add_argument("--stack", required=True, metavar="NAME")
    command.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="for what AWS is still making (0: status 3)"
    )
    command.add_argument(
        "--cancel", action="store_true", help="take the killed update's lock away; only where no update is running"
    )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    given = parser().parse_args(argv)
    try:
        recover(given.stack, given.wait, given.cancel)
    except Problem as problem:
        problem.name_again(f"python -m stacks recover --stack {given.stack}")
        print(problem.plain(), file=sys.stderr)
        return int(problem.status)
    except KeyboardInterrupt:
        return 130
    return 0


def recover(stack: str, seconds: float, cancel: bool) -> None:
    """Settle interrupted creations. Raises NotYet, leaving the state as it was, while AWS is still creating one."""
    if cancel:
        # It fails where there is no lock to take away, which is as good.
        _pulumi("cancel", "--yes", "--stack", stack, check=False)
    document: Document = json.loads(_pulumi("stack", "export", "--stack", stack))
    creations = begun(document)
    if creations:
        found = settled(_aws(stack), creations, seconds)
        for creation in creations:
            made = found[creation.urn]
            _say(f"{creation.name}: {f'taken over ({made.identity})' if made else 'was never made'}")
        _pulumi("stack", "import", "--stack", stack, text=json.dumps(taken_over(document, found)))
    else:
        _say("no creation was interrupted")
    _pulumi("refresh", "--yes", "--skip-preview", "--non-interactive", "--stack", stack)
    _say(f"the state matches AWS; next: pulumi up --stack {stack}")


def settled(
    aws: Aws,
    creations: Sequence[Begun],
    seconds: float,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Mapping[str, Found | None]:
    """What became of each creation, by URN, once AWS is done with all of them.

    Raises NotYet after `seconds`, Refused if AWS failed to create one.
    """
    end = now() + seconds
    told = float("-inf")
    while True:
        found = {c.urn: find(aws, c) for c in creations}
        broken = [m for m in found.values() if m and m.status in BROKEN]
        if broken:
            raise Refused(
                f"AWS could not create {', '.join(f'{m.identity} ({m.status})' for m in broken)}.",
                hint=f"Delete it in AWS (aws rds delete-db-snapshot, aws rds delete-db-instance), then: {AGAIN}",
            )
        making = [m for m in found.values() if m and m.status not in SERVING]
        if not making:
            return found
        waiting = f"AWS is still creating {', '.join(f'{m.identity} ({m.status})' for m in making)}"
        at = now()
        if at >= end:
            raise NotYet(f"{waiting}.", hint=f"Nothing was changed. Later, or with --wait SECONDS: {AGAIN}")
        if at >= told + TOLD_EVERY_SECONDS:
            told = at
            _say(f"{waiting}; {end - at:.0f} s left to wait")
        pause(EVERY_SECONDS)


def _aws(stack: str) -> Aws:
    config: Mapping[str, Any] = json.loads(_pulumi("config", "--json", "--stack", stack))
    region, profile = ((config.get(key) or {}).get("value") for key in ("aws:region", "aws:profile"))
    return Aws(region or default_region() or "", profile)


def _pulumi(*arguments: str, text: str | None = None, check: bool = True) -> str:
    command = f"pulumi {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(
            ["pulumi", *arguments],
            input=text or "",
            capture_output=True,
            text=True,
            timeout=PULUMI_SECONDS,
        )
    except FileNotFoundError:
        raise Failed("The pulumi command is not on the PATH.", hint="https://www.pulumi.com/docs/install/") from None
    except subprocess.TimeoutExpired:
        raise Failed(
            f"Timed out after {PULUMI_SECONDS:g} s waiting for `{command}`.",
            hint=f"Check that the backend answers (pulumi whoami), then: {AGAIN}",
        ) from None
    if check and done.returncode:
        what = f"`{command}` ended with status {done.returncode}:\n{done.stderr.strip()[-1200:]}"
        raise Failed(what, hint=f"If an update was killed and none is running: {AGAIN} --cancel")
    return done.stdout


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
