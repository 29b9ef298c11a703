"""The published schema of the Engine API, and whether what is answered fits it."""
