"""The event log, training frames and entity state, kept equal by one contract."""
