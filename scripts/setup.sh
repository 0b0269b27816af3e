#!/bin/bash
# Sets up a checkout: Debian's packages, npm's packages, the built executable. Each step is skipped when it is
# done already, so that a second run costs milliseconds. Sourced by ./weft and ./test, which stand in the
# checkout's root.
#
#   weft_setup PACKAGE...   what else of Debian's is needed, by package name

WEFT_BASE_PACKAGES=(ca-certificates nodejs npm nftables procps)

weft_say() { printf '%s\n' "weft: $*" >&2; }
weft_die() { weft_say "$1"; exit "${2:-1}"; }

# Runs a step with its output in a file, shown only when it fails, and a line with the time it took.
weft_step() {
  local what=$1 log started
  shift
  log=$(mktemp)
  started=$(date +%s%N)
  if [ -t 2 ]; then printf 'weft: %s ...' "$what" >&2; fi
  if ! "$@" >"$log" 2>&1; then
    [ -t 2 ] && printf '\n' >&2
    tail -n 40 "$log" >&2
    rm -f "$log"
    weft_die "$what failed; the last lines of its output are above."
  fi
  rm -f "$log"
  [ -t 2 ] && printf '\r\033[K' >&2
  weft_say "$what: $(( ($(date +%s%N) - started) / 100000000 ))e-1 s" | sed -E 's/: ([0-9]*)([0-9])e-1 s/: \1.\2 s/; s/: \./: 0./' >&2
}

weft_missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
  done
}

# A tool counts as there whatever it was installed from.
weft_have() {
  case $1 in
    nodejs) command -v node ;;
    npm) command -v npm ;;
    nftables) command -v nft || [ -x /usr/sbin/nft ] ;;
    procps) command -v ps ;;
    *) return 1 ;;
  esac >/dev/null
}

weft_install_packages() {
  local package missing=()
  for package in "$@"; do
    if weft_have "$package"; then continue; fi
    missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  mapfile -t missing < <(weft_missing_packages "${missing[@]}")
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || weft_die "apt-get is missing: install by hand ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  weft_step "reading Debian's package lists" apt-get update -q
  weft_step "installing ${missing[*]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
}

weft_check_machine() {
  [ "$(uname -s)" = Linux ] || weft_die "this is $(uname -s); Weft needs Linux 5.13 or later."
  local major minor
  IFS=.- read -r major minor _ < <(uname -r)
  if [ "$major" -lt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -lt 13 ]; }; then
    weft_die "this kernel is $(uname -r); Weft needs 5.13 or later: install a newer one and reboot."
  fi
  [ "$(id -u)" -eq 0 ] || weft_die "this needs root: run it with sudo."
}

# What was made by root in somebody else's checkout goes back to that user.
weft_give_back() {
  local owner
  owner=$(stat -c %u:%g .)
  [ "$owner" = 0:0 ] && return
  local path
  for path in "$@"; do
    if [ -e "$path" ]; then chown -Rh "$owner" "$path"; fi
  done
}

weft_npm() {
  cmp -s package-lock.json node_modules/.weft-lock && return
  weft_step "installing npm's packages" npm ci --no-audit --no-fund --no-progress
  cp package-lock.json node_modules/.weft-lock
  weft_give_back node_modules
}

weft_build() {
  if [ -x dist/weft ] && [ -z "$(find apps packages plugins lab scripts package-lock.json -newer dist/weft -not -name '*.test.ts' -print -quit)" ]; then
    return
  fi
  mkdir -p dist
  weft_step "building dist/weft" node_modules/.bin/bun run scripts/build.ts
  weft_give_back dist
}

weft_setup() {
  weft_check_machine
  weft_install_packages "${WEFT_BASE_PACKAGES[@]}" "$@"
  nft list tables >/dev/null 2>&1 || weft_die "this kernel has no nftables: load the module nf_tables."
  weft_npm
  weft_build
}
