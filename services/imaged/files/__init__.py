"""Files of snapshots found, hashed and copied: what a Dockerfile's COPY, ADD and WORKDIR do, by a short-lived program.

The program is told two file trees, the *source* and the *target*. In a mount namespace of its own it mounts the source
as a read-only overlay and the target as a writable one, over a copy of the target's upper directory (clone.py) that
takes the original's place when all went well: all of it or nothing. Then it keeps only what files need of capabilities.
Both trees are strangers': no path leaves its root, whatever links lie in it (roots.py).

Four verbs: ``hash`` (digest.py), ``copy`` (copying.py), ``mkdir`` and ``merge`` (merge.py: a layer's directory onto the
target's upper). The result is one JSON object.

The rules are those of BuildKit's copy, where the contract does not say otherwise.
"""
