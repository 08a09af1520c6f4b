"""Tests of scoring, the service and the stream."""
