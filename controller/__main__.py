"""`python -m controller`."""

import sys

from encryptdb.controller.cli import main

sys.exit(main())
