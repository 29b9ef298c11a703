"""Services killed under running containers, and verbs killed at every stage boundary."""
