"""buildd: Dockerfile builds.

A library of verbs over imaged, netd and execd as the coordinator is, and a service of its own. Vocabulary. The *ground* of
a step is the committed snapshot below it. A *step* is one instruction; one that changes files is carried out over its
ground and committed under its *cache key*, all others change the image's configuration alone. A *record* says that a
step was carried out, and of what it was made. A *scope* holds the variables of one stage as they are at one place of it.
"""
