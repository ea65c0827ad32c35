"""Compares source and target row by row, at the same point of the write-ahead log, while applications write.

`catalog` lists the tables, `point` brings both sides to the same point, `scan` reads one side, `locate` finds the rows
that differ, `database` goes through one database. docs/verify.md has the proof.
"""
