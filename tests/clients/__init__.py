"""The clients in Python, Node and Java, each against the running service."""
