"""An organ as several labelled parts that tile it: learned beside its shape, generated with it, without gap or overlap.

Nothing here runs unless `parts.use` is set.
"""
