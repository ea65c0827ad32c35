"""What the owner's own infrastructure code needs so that the encrypted database becomes theirs, and this stack can go.

Reads AWS and both servers, changes nothing: `read` → `found.Found` → text.
"""

from encryptdb.controller.adopt.read import read
from encryptdb.controller.adopt.text import TOOLS, compose, program
from encryptdb.controller.adopt.turn import not_yet

__all__ = ["TOOLS", "compose", "not_yet", "program", "read"]
