"""What still holds plaintext after the move: everything in AWS that came from the unencrypted source.

A list, not a deletion: none of it is ours to delete unasked.
"""

from encryptdb.controller.engines import Leftover
from encryptdb.controller.migration import Migration


def find(m: Migration) -> list[Leftover]:
    """Everything there is, now. Raises Failed where AWS does not tell."""
    return list(m.engine.leftovers(m.outputs.source, m.outputs.stack))
