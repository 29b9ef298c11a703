"""Unpacking layers: one short-lived process per layer, locked into the directory that it fills.

``Unpacker`` (in imaged) keeps a zygote: a small program without threads that forks one worker for each job. The worker
makes the layer's directory its root in a mount namespace of its own, has no network and only the capabilities that
files need, and reads the compressed blob from a descriptor while it still grows. Over its channel imaged tells it how
far the blob is there; it answers with its progress and at last with the result or an error. When the channel is closed
it stops; when its zygote or imaged dies it dies. What it imports, it imports before it changes root.

Messages on the zygote's socket: one JSON ``Job`` with three descriptors (channel, blob, directory). On the channel, to
the worker: ``<QB``, bytes there and whether that is all; from it: JSON ``{"progress": n}``, ``{"result": …}`` or
``{"error": …}``.
"""
