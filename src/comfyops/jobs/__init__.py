"""Durable jobs: accepted once, finished once in effect, on one machine or a fleet."""
