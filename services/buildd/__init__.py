"""buildd: Dockerfile builds.

A client of imaged, netd and execd by the coordinator's verbs, and a service of its own. Vocabulary. The *ground* of a
step is the committed snapshot below it. A *step* is one instruction; one that changes files is carried out over its
ground and committed under its *cache key*, all others change the image's configuration alone. A *record* says that a
step was carried out, and of what it was made. A *scope* holds the variables of one stage as they are at one place.
"""
