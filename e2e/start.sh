# Sets up what real Kubernetes needs on this machine and becomes a program of this checkout. Sourced by ./run,
# ./conformance and ../bench/pods.
#
#   start_e2e PROGRAM PACKAGE... -- ARGUMENT...
#
# Everything stays in namespaces and cgroups whose names begin with weft-e2e-, and in e2e/.cache. Two runs on one
# machine would remove each other's: the second waits, unless WEFT_E2E_PREFIX gives it names of its own.
e2e=$(readlink -f "${BASH_SOURCE[0]}")
e2e=${e2e%/*}
WEFT_E2E_PACKAGES=(gcc libc6-dev openssl curl conntrack iptables util-linux mount procps)

start_e2e() {
  local program=$1 packages=("${WEFT_E2E_PACKAGES[@]}") prefix
  shift
  while [ "$1" != -- ]; do
    packages+=("$1")
    shift
  done
  shift
  PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
  cd "$e2e/.."
  (
    . scripts/setup.sh
    weft_setup test
    trap weft_end EXIT
    weft_install_packages "${packages[@]}"
  )
  prefix=${WEFT_E2E_PREFIX:-weft-e2e-}
  exec 9>"/run/${prefix%-}.lock"
  if ! flock --nonblock 9; then
    echo "e2e: waiting for another run on this machine to end" >&2
    flock 9
  fi
  exec node_modules/.bin/bun run "$program" "$@"
}
