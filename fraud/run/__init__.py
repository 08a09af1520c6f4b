"""`fraud run`: every process of the platform on one machine, under supervisor."""
