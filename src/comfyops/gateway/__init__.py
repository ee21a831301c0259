"""The gateway in front of ComfyUI: authenticate, authorise, validate, limit, audit, and only then pass on."""
