#!/usr/bin/env bash
# Writes the pinned, hashed requirements files anew from pyproject.toml.
# They name no index: pip takes whichever one the machine is set up for.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=deploy/requirements
compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate "$@"; }
compile --extra edge --extra cloud --extra train --extra dev pyproject.toml -o "$here/dev.txt"
# The smaller sets follow the pins of the whole one, so that what was tested is what ships.
for extra in edge cloud train pylon genicam; do
  # The server's set can inspect, too; who does not want that leaves the extra out.
  more=(); if [ "$extra" = cloud ]; then more=(--extra inspect); fi
  compile --constraint "$here/dev.txt" --extra "$extra" "${more[@]}" pyproject.toml -o "$here/$extra.txt"
done
