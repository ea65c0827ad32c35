"""What the owner's own infrastructure code needs to manage the encrypted database, so that this stack can be removed.

Reads AWS and both servers and changes nothing: `read` → `found.Found` → text.
"""

from encryptdb.controller.adopt.read import read
from encryptdb.controller.adopt.text import TOOLS, compose, import_file

__all__ = ["TOOLS", "compose", "import_file", "read"]
