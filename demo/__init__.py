"""The whole migration on one machine, under load, told as it goes, and proved at the end: `python -m demo`.

It drives the lab and the controller as their users do, through their commands; it imports neither the controller nor
the Pulumi program.
"""
