"""The ``pier`` command: docker's grammar over the Engine REST API, and what only Pier has.

A command is a module of ``pier_cli.commands`` that holds one ``Command`` (its words, flags and help) and the function
that runs it; ``pier_cli.table`` names them all. What is not in the tables does not exist.

Starting is what the user feels, so modules here import the built-in C modules (``posix``, ``_socket``, ``_json``,
``_signal``) rather than their wrappers, no ``typing``, ``re``, ``enum``, ``json`` or ``dataclasses`` at run time, and
each other only where needed. ``tests/bench/test_cli_start.py`` keeps that.
"""
