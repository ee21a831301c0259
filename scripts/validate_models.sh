#!/bin/sh
# Reads every byte of the models and says which are missing or wrong; takes the options of `comfyops models check`.
# Exit code: 0 fine, 1 something required is missing or something is wrong, 2 the command makes no sense.
exec "${COMFYOPS:-comfyops}" models check --deep "$@"
