"""One file per noun; `comfyops.cli.app.COMMANDS` lists them."""
