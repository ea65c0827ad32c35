"""The report: what was done, by whom, and what proves it, in one HTML file that needs nothing else.

`collect` reads, `render` writes it out; the data also stand in the file, so that evidence outlives the control
databases that it came from.
"""

from encryptdb.controller.report.collect import collect
from encryptdb.controller.report.page import render
from encryptdb.controller.report.store import check_writable, path_of, write

__all__ = ["check_writable", "collect", "path_of", "render", "write"]
