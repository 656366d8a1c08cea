#!/usr/bin/env bash
# Packs Python with all packages of a training as an archive that YARN unpacks beside each executor.
# Run it on a machine like the cluster's: same system, same processor, Python 3.11 at the same path.
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=${1:-environment.tar.gz}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Copies instead of links: a link would point at this machine's Python.
python3.11 -m venv --copies "$folder/environment"
"$folder/environment/bin/pip" install --quiet --require-hashes -r deploy/requirements/train.txt
tar --create --gzip --file "$out" --directory "$folder/environment" .
echo "$out: hdfs dfs -put -f $out /sightline/environment.tar.gz"
