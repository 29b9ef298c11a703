"""Where naive engines break the clients that people have: what to check is numbered, and so are the tests."""
