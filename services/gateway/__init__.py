"""The gateway: faces that translate and a coordinator that acts. It owns no fact and may be killed at any moment."""
