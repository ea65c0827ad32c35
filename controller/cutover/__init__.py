"""Cutover and rollback: one function of (from, to) made of named verbs.

`conduct` runs the whole; `checks` decides whether to begin, `move` is the pause, `finish` what follows OPEN, the point
of no return.
"""
