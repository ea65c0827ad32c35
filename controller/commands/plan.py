"""plan: the steps, which are done, what comes next. Changes nothing."""

from typing import Any

from encryptdb.controller import permissions
from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.plan import PLAN
from encryptdb.controller.state import decide
from encryptdb.controller.steps.step import Step


def run(m: Migration) -> dict[str, Any]:
    """Observes and lists. A step is done where its goal is seen, or where its whole command is."""
    observed = observe(m)
    cells = permissions.row(decide(m.outputs, m.names, observed)).cells

    def done(step: Step) -> bool:
        verdict = cells[step.command].verdict
        if (verdict is permissions.Verdict.GO and m.target is not None) or step.command == "prepare":
            return verdict is permissions.Verdict.DONE or (step.done is not None and step.done(m, observed))
        return verdict is permissions.Verdict.DONE

    steps = [{"name": s.name, "command": s.command, "summary": s.summary, "done": done(s)} for s in PLAN]
    for step in steps:
        m.say(f"[{'x' if step['done'] else ' '}] {step['command']:<10} {step['name']:<19} {step['summary']}")
    return document(m, observed, steps=steps)


command = stack_command(run)
