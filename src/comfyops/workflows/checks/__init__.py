"""What is checked of a graph, and how the answers are put into words; `workflows.validate` is the door to all of it."""
