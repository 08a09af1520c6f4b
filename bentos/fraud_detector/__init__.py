"""The BentoML service over HTTP."""
