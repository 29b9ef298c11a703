"""netd: networks, sandboxes, endpoints, published ports, and the contents of the files that carry names."""
