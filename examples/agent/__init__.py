"""An agent over the images of several nodes: README.md says what it does."""
