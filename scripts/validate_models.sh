#!/bin/sh
# Reads every byte of the models and says which are missing or wrong; takes the options of `comfyops models check`.
# Exit code: 0 fine, 1 something required is missing or something is wrong, 2 the command makes no sense.
# The command is that of the variable COMFYOPS, else on the PATH, else in the folder .venv beside this one.
command=${COMFYOPS:-comfyops}
beside=$(dirname "$0")/../.venv/bin/comfyops
if ! command -v "$command" >/dev/null 2>&1; then
    if [ -n "$COMFYOPS" ] || [ ! -x "$beside" ]; then
        echo "error: there is no command '$command'; install it with: pip install comfyops" >&2
        exit 2
    fi
    command=$beside
fi
exec "$command" models check --deep "$@"
