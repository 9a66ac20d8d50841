"""Schedules that MetaSchedule found, in place of those by rule.

A function that has no kernel of ours gets its schedule by rule (`passes.schedule`). Where a
database of tuning records has something for it, that is taken instead (`records`, `scheduler`);
`tune` fills such a database. Kernels of ours (dense layers, convolutions, attention, norms, the
vocabulary) are never replaced.
"""
