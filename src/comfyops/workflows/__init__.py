"""Workflows as values: graphs, node types, formats, validation. Pure: nothing here touches a network or an event loop."""
