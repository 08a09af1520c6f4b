"""The deployment files, as far as they can be held to the code without a container."""
