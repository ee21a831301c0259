"""Workflows as values: graphs, node types, formats, validation. Pure: no network, no event loop."""
