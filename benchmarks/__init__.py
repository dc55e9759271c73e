"""Our pipeline and what its users might use instead, on the same files, held to the same result."""
