"""One module per command: `run(m)` returns the JSON document or raises a Problem, `command` declares its arguments.

The summaries stand here, so that the list of commands is shown without importing what they need.
"""

COMMANDS = {
    "init": "write the file of a new stack from what AWS says of the live source",
    "preflight": "report every problem at once: what was found, what is needed, the remedy",
    "prepare": "make the source ready for its snapshot",
    "replicate": "join the restored copy at the exact LSN, and follow until it has caught up",
    "status": "show the state, the next step, lag and slot health",
    "verify": "compare every table on both sides, at the same point",
    "cutover": "move the applications to the target (running it is the approval)",
    "rollback": "move them back without losing data, while the rollback window is open",
    "retire": "drop all replication objects; list what still holds plaintext",
    "abandon": "before the cutover has opened the target: restore the source exactly as it was",
    "plan": "list the steps, which are done, what comes next; change nothing",
    "states": "print the table of states: what each command does in each state",
    "run": "do the next steps as far as they may go without approval",
    "advance": "run pulumi up and the commands as far as the stack's phase says, for a pipeline",
    "report": "write one self-contained HTML file of what was done and what proves it",
    "adopt": "print what your own infrastructure code needs to take the target over",
}

EXIT_STATUSES = """\
\b
Exit status:
  0    reached its goal
  1    failed (a server is unavailable, a wrong password, a difference was found)
  2    wrong usage or configuration
  3    not yet (infrastructure not there, not caught up, approval missing)
  4    refused, because going on would not be safe
  130  interrupted
"""
