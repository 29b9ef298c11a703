"""Clients that people have, unchanged: each does what it is used for."""
