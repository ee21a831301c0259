"""The parts of `workflows.convert`: how the editor's nodes, links and subgraphs become a graph that a server runs."""
