"""Repairs of graphs, one file per subject. Each proposes changes to one node; `workflows.fix` decides and applies."""
