"""plan: the steps, which are done, what comes next. Changes nothing."""

from typing import Any

from controller.migration import Migration
from controller.observe import observe
from controller.plan import PLAN
from controller.runner import next_step
from controller.station import document


def run(m: Migration) -> dict[str, Any]:
    """Observes and lists; every step before the next one counts as done."""
    state = observe(m, with_mark=True)
    following = next_step(m, state)
    steps: list[dict[str, Any]] = []
    passed = True
    for step in PLAN:
        passed = passed and step is not following
        steps.append({"name": step.name, "command": step.command, "summary": step.summary, "done": passed})
        m.say(f"[{'x' if passed else ' '}] {step.command:<10} {step.name:<17} {step.summary}")
    return document(m, state, following.name if following else None) | {"steps": steps}
