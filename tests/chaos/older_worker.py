"""`comfyops worker` as an older release of ComfyOps would be: it says another version of itself."""

import comfyops

comfyops.__version__ = "0.0.9"

from comfyops.cli.main import main  # noqa: E402  (after the version was set)

if __name__ == "__main__":
    main()
