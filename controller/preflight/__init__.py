"""Every problem at once, before anything is touched: what was found, what is needed, the exact remedy.

`read` has all effects, `facts` what was read, `checks` the list of pure decisions, `report` the outcome.
Nothing is changed on any server: privileges are probed in transactions that are rolled back.
"""

from encryptdb.controller.migration import Migration
from encryptdb.controller.observe import Observed
from encryptdb.controller.preflight.checks import CHECKS, Check, evaluate
from encryptdb.controller.preflight.read import read
from encryptdb.controller.preflight.report import Finding, PreflightFailed, PreflightRefused, Report

__all__ = ["CHECKS", "Check", "Finding", "PreflightFailed", "PreflightRefused", "Report", "preflight"]


def preflight(m: Migration, observed: Observed | None = None) -> Report:
    """Look at both servers and AWS, and report. Raises nothing for a silent one: that is a finding."""
    return evaluate(read(m))
