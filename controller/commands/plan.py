"""plan: the steps, which are done, what comes next. Changes nothing."""

from typing import Any

from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.plan import PLAN
from encryptdb.controller.runner import next_step
from encryptdb.controller.state import document


def run(m: Migration) -> dict[str, Any]:
    """Observes and lists; every step before the next one counts as done."""
    observed = observe(m, with_parameter=True)
    following = next_step(m, observed)
    steps: list[dict[str, Any]] = []
    passed = True
    for step in PLAN:
        passed = passed and step is not following
        steps.append({"name": step.name, "command": step.command, "summary": step.summary, "done": passed})
        m.say(f"[{'x' if passed else ' '}] {step.command:<10} {step.name:<17} {step.summary}")
    return document(m, observed, following.name if following else None) | {"steps": steps}


command = stack_command(run)
