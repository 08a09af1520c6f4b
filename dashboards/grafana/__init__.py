"""Grafana dashboards, built from code."""
