"""The report: what was done, by whom, and what proves it, in one self-contained HTML file.

The file also holds its data as JSON, so that the evidence outlives the control databases.
"""

from encryptdb.controller.report.collect import collect
from encryptdb.controller.report.page import render
from encryptdb.controller.report.store import check_writable, path_of, write

__all__ = ["check_writable", "collect", "path_of", "render", "write"]
