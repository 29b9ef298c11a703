"""The Dockerfile language: text to instructions, by no other input than the text.

Source: the Dockerfile reference (docs.docker.com/reference/dockerfile), syntax 1. Vocabulary. A *directive* is one of
the comments that a file begins with (`# syntax=`, `# escape=`, `# check=`). A *stage* is a FROM and what follows it.
A *word* is text in which variables have not been replaced yet: what they stand for depends on the base image's
environment, so that whoever carries an instruction out replaces them: `expansion` of a whole instruction,
`coordinator.dockerfile.words` of one text. A *heredoc* is a text within the file that an instruction takes in place of
a command or a source. A *finding* is a build check that something in the file did not pass.

Lifecycle: `parse` (one file, all its errors have a place) → `Dockerfile` → `graph.needed` (the stages that a target
needs) → for each instruction `expansion.expand` with the variables of its stage as they are there → `ConfigBuilder` of
`coordinator.dockerfile.config` for what it changes in the image's config.

Example: `parse(b"FROM busybox AS base\\nRUN true\\n")` has one stage, called "base", with one `Run`.
"""
