"""Dockerfile builds: what a Dockerfile and a context become, a layer an instruction."""
