"""What people look at: the console, drift reports and monitoring files."""
