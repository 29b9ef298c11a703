"""A whole engine, driven by the clients that people use: the docker command and pier, on a pty where one is meant."""
