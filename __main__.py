"""One stack: one database server on its way to being encrypted. README.md and docs/stack.md tell how to use it.

pulumi up (prepare)    parameter groups, network link
pulumi up (restore)    + snapshot → encrypted copy → target (RDS), cluster snapshot → target with its instances (Aurora)
pulumi up (retire)     the target alone
"""

from encryptdb.stacks.engines import declare
from encryptdb.stacks.exports import export
from encryptdb.stacks.observe import observe, place
from encryptdb.stacks.plan import decide
from encryptdb.stacks.settings import read_settings

settings = read_settings()
here, reads = place()
plan = decide(settings, observe(settings, reads, here))
export(declare(plan).outputs)
