#!/usr/bin/env bash
# Are all C++ sources formatted? The test is not given the sources one by one: it finds the source tree behind the
# link to WORKSPACE, so that a file which no BUILD file mentions is looked at as well.
set -euo pipefail
WEIR_SOURCE_ROOT=$(dirname "$(readlink -f WORKSPACE)")
export WEIR_SOURCE_ROOT
exec "$WEIR_SOURCE_ROOT/tools/format" --check
