"""Dockerfile instructions as far as they change an image's config: what `commit --change` and `import --change` take.

Source: the Dockerfile reference (docs.docker.com/reference/dockerfile), "Environment replacement" for the words.
"""
