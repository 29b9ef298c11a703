"""What a snapshot has changed, and what it shows: read by a short-lived program that can do nothing else.

The program is told the snapshot's writable directory (*upper*) and its layers (*lowers*). In a mount namespace of its
own it mounts two read-only overlays: the *base*, of the lowers, and the *merged* tree, with the upper as the topmost of
them. The upper stays the writable directory of one overlay alone, the container's. Then it keeps only the capabilities
that files need, and reads what a container left there, maybe while it goes on.

Four verbs: ``changes`` (a line of JSON for each), ``layer`` (the tar that makes the merged tree of the base: OCI image
specification, "layer.md"), ``export`` (a tar of the merged tree; it needs no upper). Those three write nothing.
``settle`` is ``layer`` for an upper that nothing has mounted and that is to become the layer's directory: on its way it
takes out what the tar does not hold, and syncs. On standard error it says at last what the layer is.
"""
