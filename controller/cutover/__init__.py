"""The moment of truth: one function of (from, to) made of named verbs, and what each verb needs.

`move` holds the order. `fence`, `watchdog`, `markers`, `sequences`, `reverse` and `lasting` are one verb each;
`checks` decides beforehand whether to begin; `finish` completes what comes after the point of no return; `epoch`
says which side serves.
"""
