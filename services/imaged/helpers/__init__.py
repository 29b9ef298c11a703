"""Helper programs (chassis/programs.py) forked from a process that has everything imported.

A program that is started anew spends ten times as long on its imports as on a small file: a build's step has three of
them. The zygote has one thread and nothing else to do, as the unpack workers' has; each child mounts in a namespace of
its own, locks itself in, does one thing and ends. It ends with the zygote, and that with imaged.
"""
