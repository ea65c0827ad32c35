"""`preflight`: every problem at once, with its remedy. Changes nothing."""

from typing import Any

from encryptdb.controller.commands.arguments import stack_command
from encryptdb.controller.document import document
from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import observe
from encryptdb.controller.preflight import preflight


def run(m: Migration) -> dict[str, Any]:
    """The report as one document. Raises PreflightFailed or PreflightRefused, which carry it as `document`."""
    m.say("preflight: looking at the servers and AWS, changing nothing")
    observed = observe(m, partial=True)
    report = preflight(m, observed)
    for severity in ("ok", "warns"):
        for finding in report.findings:
            if finding.severity == severity:
                m.say(str(finding))
    report.raise_if_blocked()
    m.say(f"preflight: nothing blocks; {len(report.of('warns'))} warnings, {len(report.passed)} checks passed")
    return document(m, observed) | report.to_json()


command = stack_command(run)
