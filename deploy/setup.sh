#!/usr/bin/env bash
# Sets up what a make target needs, once.
#   setup.sh python   the venv with the pinned packages
#   setup.sh demo     Java and a broker
#   setup.sh test     those, PostgreSQL and Chromium
# System parts come with apt where this user may; elsewhere one line says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv

say() { printf 'sightline setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

as_root=()
may_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" = 0 ] && return 0
  command -v sudo >/dev/null && sudo -n true 2>/dev/null && as_root=(sudo -n)
}

updated=
install() { # what-for package…
  local purpose=$1
  shift
  may_install || fail "$purpose is missing. Install it first: apt-get install $*"
  say "installing $* ($purpose)"
  if [ -z "$updated" ]; then
    "${as_root[@]}" apt-get update -qq >/dev/null && updated=yes
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    fail "apt-get install $* failed. Install it by hand, then start again"
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python() {
  local candidate python=
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && new_enough "$candidate"; then
      python=$candidate
      break
    fi
  done
  [ -n "$python" ] || fail "Python 3.11 or newer is missing. Install it first: apt-get install python3 python3-venv"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || install "Python's venv" python3-venv
  [ -x $venv/bin/python ] || "$python" -m venv $venv
  say "installing the pinned Python packages into $venv (3 GB, a few minutes)"
  $venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r deploy/requirements/dev.txt 2> >(grep -v 'is ignored: it is neither' >&2)
  $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --no-build-isolation --editable . 2> >(grep -v 'is ignored: it is neither' >&2)
}

has_java() {
  local java
  for java in "${JAVA_HOME:-/nowhere}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    # `java -version` prints, for instance: openjdk version "17.0.15" 2025-04-15
    [ -x "$java" ] && "$java" -version 2>&1 | grep -qE 'version "(17|21)\b' && return 0
  done
  return 1
}

demo() {
  has_java || install "Java 17 (for Spark)" openjdk-17-jre-headless
  if ! PATH=$PATH:/usr/sbin command -v mosquitto >/dev/null; then
    if may_install; then
      install "the MQTT broker" mosquitto
    else
      say "mosquitto is not installed; the embedded broker iotcore takes its place"
    fi
  fi
}

test_parts() {
  demo
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || install "PostgreSQL (for tests)" postgresql
  command -v chromium >/dev/null || install "Chromium (for tests)" chromium
}

# What setting up took in all, for the demonstration's report.
note_time() {
  local before=0
  [ ! -f $venv/.setup-seconds ] || before=$(<$venv/.setup-seconds)
  echo $((before + SECONDS)) >$venv/.setup-seconds
}

case ${1:-} in
python) python && note_time && touch $venv/.ready ;;
demo) demo && note_time && touch $venv/.system-demo ;;
test) test_parts && note_time && touch $venv/.system-test ;;
*) fail "usage: setup.sh python|demo|test" ;;
esac
