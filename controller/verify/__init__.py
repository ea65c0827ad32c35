"""Are both sides equal, row by row, at the same point of the write-ahead log, while applications go on writing?

`catalog` says what there is to compare, `point` brings both sides to the same point, `scan` reads one side,
`locate` finds the rows that differ, `database` goes through the tables of one database. docs/verify.md proves it.
"""
