"""One process tree for hosts without an init system: starts and supervises an instance's services.

Where systemd runs, the units in deploy/systemd do the same and this is not used.
"""
