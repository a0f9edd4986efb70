#!/bin/bash
# Installs what the project is built with, after saying what that is:
#   scripts/setup.sh           packages, then the virtual environment
#   scripts/setup.sh packages  Debian packages (apt, as root or with sudo)
#   scripts/setup.sh python    .venv with the versions of requirements-dev.txt
# Nothing is installed twice. FLA_SKIP_PACKAGES=1 leaves apt alone, for systems
# that have the packages under other names.
set -euo pipefail
cd "$(dirname "$0")/.."

OS_RELEASE=${FLA_OS_RELEASE:-/etc/os-release}
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

wanted() { grep -v '^#' scripts/packages.txt; }

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing() {
  local name
  for name in $(wanted); do is_installed "$name" || echo "$name"; done
}

is_debian_12() {
  [ -r "$OS_RELEASE" ] || return 1
  (. "$OS_RELEASE" && [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ])
}

explain_other_system() {
  {
    echo "setup: expected Debian 12, got $( (. "$OS_RELEASE" && echo "$PRETTY_NAME") 2>/dev/null || uname -s)."
    echo "Nothing was installed. Install the equivalents of these Debian packages"
    echo "(LLVM and MLIR 22.1, Python 3.10 or later):"
    wanted | sed 's/^/  /'
    echo "then run the same command again with FLA_SKIP_PACKAGES=1 in the environment."
  } >&2
}

install_packages() {
  local names as_root=()
  names=$(missing)
  if [ -z "$names" ]; then return 0; fi
  echo "setup: these Debian packages will be installed with apt-get:"
  echo "$names" | sed 's/^/  /'
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
      echo "setup: expected root or sudo, got neither; install the packages above, then run this again" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $names
}

packages() {
  if [ "${FLA_SKIP_PACKAGES:-0}" = 1 ]; then
    echo "setup: FLA_SKIP_PACKAGES=1: no package is looked for"
  elif is_debian_12; then
    install_packages
  else
    explain_other_system
    exit 1
  fi
}

# The interpreter of the system, whose headers python3-dev brings.
system_python() {
  if is_debian_12; then echo /usr/bin/python3; else command -v python3; fi
}

# PyPI's torch may be a CUDA build with gigabytes of libraries: then the CPU build is
# taken from PyTorch's own index.
torch_index() {
  if .venv/bin/pip install --dry-run --quiet --ignore-installed --report - "$(grep '^torch==' requirements-dev.txt)" \
      | .venv/bin/python scripts/names_cuda.py; then
    echo "--extra-index-url=$TORCH_CPU_INDEX"
  fi
}

python() {
  local stamp
  stamp=.venv/.ready-$(sha256sum requirements-dev.txt | cut -c1-16)
  if [ -e "$stamp" ]; then return 0; fi
  echo "setup: these Python packages will be installed into .venv:"
  grep -v '^#' requirements-dev.txt | sed 's/^/  /'
  export PIP_DISABLE_PIP_VERSION_CHECK=1
  [ -x .venv/bin/pip ] || "$(system_python)" -m venv .venv
  .venv/bin/pip install --quiet --no-compile --progress-bar off $(torch_index) -r requirements-dev.txt
  touch "$stamp"
}

case "${1:-all}" in
  packages) packages ;;
  python) python ;;
  all) packages && python ;;
  *) echo "setup.sh: expected packages, python or nothing, got '$1'" >&2; exit 2 ;;
esac
