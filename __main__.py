"""One stack: one database server on its way to being encrypted. README.md and docs/stack.md tell how to use it.

pulumi up (prepare)    parameter groups, network link
pulumi up (restore)    + snapshot → encrypted copy → target (RDS), cluster snapshot → target with its instances (Aurora)
pulumi up (retire)     the target alone
"""

from encryptdb.stacks.observe import observe, place
from encryptdb.stacks.plan import decide
from encryptdb.stacks.program import declare, export, plainly
from encryptdb.stacks.settings import read_settings

with plainly():
    settings = read_settings()
    here, aws = place()
    plan = decide(settings, observe(settings, aws, here))
    export(declare(plan).outputs)
