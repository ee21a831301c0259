"""The command line. `commands/` has one file per noun, `output` is the only printer."""
