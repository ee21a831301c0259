"""What every subject may use: files, clocks, hashes. Nothing here knows what a workflow is."""
