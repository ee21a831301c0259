"""The HTTP API: /api/v2, the public contract of jobs and assets, and /ops, what operators ask for."""
