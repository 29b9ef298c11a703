"""The operator's commands, over each service's own gRPC: they answer also when some services are dead or hung.

Unlike the rest of ``pier_cli`` this runs in the project's environment and may import what it needs.
"""
