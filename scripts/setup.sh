#!/bin/bash
# Sets up a checkout: Debian's packages, npm's packages, the built executable. Each step is skipped when it is
# done already, so that a second run costs milliseconds, and starts anew when it was interrupted. Sourced in a
# subshell by ./weft and ./test, with "set -e" and the checkout's root as the current directory.
#
#   weft_setup run    what ./weft needs
#   weft_setup test   what ./test needs beyond that
#
# What a step prints goes to a file, and from there to the terminal only when it fails, with a last line that
# says what to do.

# ip and ping are for the commands that Weft's examples show.
# tcc (0.3 MB) compiles the CNI plugin's shim.
WEFT_RUN_PACKAGES=(ca-certificates nodejs npm nftables iproute2 iputils-ping tcc)
WEFT_TEST_PACKAGES=(arping containernetworking-plugins iperf3 procps tcpdump)
# Cloud images install updates for a minute after their first start, under apt's lock.
WEFT_APT_WAIT_SECONDS=${WEFT_APT_WAIT_SECONDS-300}

weft_setup() {
  local packages=("${WEFT_RUN_PACKAGES[@]}") missing=() npm='' build=''
  [ "$1" = run ] || packages+=("${WEFT_TEST_PACKAGES[@]}")
  weft_check_machine
  mapfile -t missing < <(weft_missing "${packages[@]}")
  weft_npm_is_done || npm=stale
  weft_build_is_done || build=stale
  if [ ${#missing[@]} -gt 0 ] || [ -n "$npm$build" ]; then
    exec 8>&2
    trap weft_end EXIT
    weft_lock
    weft_install_packages "${packages[@]}"
    weft_prepare_checkout
    weft_npm_is_done || weft_step "installing npm's packages" weft_npm
    weft_build_is_done || weft_step "building dist/weft" weft_build
  fi
  weft_check_nftables
}

weft_say() { printf 'weft: %s\n' "$1" >&2; }
weft_die() {
  weft_say "$1"
  exit 1
}

weft_check_machine() {
  local system release major minor
  read -r system release < <(uname -sr)
  [ "$system" = Linux ] || weft_die "this is $system: Weft needs Linux 5.13 or later."
  IFS=. read -r major minor _ <<<"$release"
  minor=${minor%%[!0-9]*}
  if ((major < 5 || (major == 5 && minor < 13))); then
    weft_die "this kernel is $release: Weft needs Linux 5.13 or later; install a newer one and reboot."
  fi
  [ "$EUID" -eq 0 ] || weft_die "this needs root: run it with sudo, or as root."
}

weft_check_nftables() {
  local said
  said=$(nft list tables 2>&1) && return
  weft_die "nftables does not work here ($(head -n 1 <<<"$said")): load the kernel module nf_tables, and in a container grant CAP_NET_ADMIN."
}

# Which of these packages are not there, one a line. A tool counts as there wherever it came from.
weft_missing() {
  local package ask=()
  for package in "$@"; do
    case $package in
      ca-certificates) [ -s /etc/ssl/certs/ca-certificates.crt ] ;;
      nodejs) command -v node ;;
      npm) command -v npm ;;
      nftables) command -v nft ;;
      iproute2) command -v ip ;;
      iputils-ping) command -v ping ;;
      procps) command -v ps ;;
      tcc) command -v tcc || command -v cc ;;
      arping | iperf3 | tcpdump) command -v "$package" ;;
      *) false ;;
    esac >/dev/null || ask+=("$package")
  done
  [ ${#ask[@]} -eq 0 ] && return
  local installed
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${ask[@]}" 2>/dev/null) || true
  for package in "${ask[@]}"; do
    [[ $'\n'$installed$'\n' == *$'\n'"$package installed"$'\n'* ]] || printf '%s\n' "$package"
  done
}

weft_install_packages() {
  local missing
  mapfile -t missing < <(weft_missing "$@")
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || weft_die "there is no apt-get here: install these by hand: ${missing[*]}"
  weft_step "installing Debian's packages ${missing[*]}" weft_apt_install "${missing[@]}"
}

# Lists that cannot be read anew, as on a machine with packages on a disk, are no reason to stop.
weft_apt_install() {
  weft_apt update -q || true
  weft_apt install -q -y --no-install-recommends "$@" && return
  grep -q 'dpkg was interrupted' "$WEFT_LOG" || return
  DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null
  weft_apt install -q -y --no-install-recommends "$@"
}

# apt-get, which is tried again as long as another program holds a lock of apt's or dpkg's.
weft_apt() {
  local end=$((SECONDS + WEFT_APT_WAIT_SECONDS)) from waits='' code
  while true; do
    from=$(wc -l <"$WEFT_LOG")
    code=0
    LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null || code=$?
    [ "$code" -ne 0 ] || return 0
    tail -n +$((from + 1)) "$WEFT_LOG" | grep -q 'Could not get lock' || return "$code"
    [ "$SECONDS" -lt "$end" ] || return "$code"
    [ -n "$waits" ] || printf '%s' "waiting for another program that installs packages ... " >&8
    waits=yes
    sleep 2
  done
}

# npm writes node_modules/.package-lock.json last; Bun's install script puts the real Bun in a placeholder's place.
weft_npm_is_done() {
  local magic=''
  [ node_modules/.package-lock.json -nt package-lock.json ] && [ -x node_modules/.bin/bun ] || return
  { IFS= read -r -N 4 magic <node_modules/.bin/bun; } 2>/dev/null || true
  [ "$magic" = $'\177ELF' ]
}

# Of all packages only Bun gets to run its install script. npm leaves out, without a word, an optional package
# that it could not fetch or write: these hold the machine code.
weft_npm() {
  local native
  # Not "npm ci": it refuses a lock file that lacks the optional packages of other platforms, as one does that was
  # made where the registry has only some of them. Without a network it gives up after seconds.
  npm install --no-save --ignore-scripts --include=dev --include=optional --no-audit --no-fund --no-progress \
    --fetch-retries=3 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 </dev/null || return
  for native in @oven/bun @koromix/koffi @biomejs/cli @typescript/typescript; do
    compgen -G "node_modules/$native-linux-*/" >/dev/null && continue
    echo "npm has left out $native-linux-*"
    rm -f node_modules/.package-lock.json
    return 1
  done
  # With nothing to install npm may leave its own lock file as old as it was.
  touch node_modules/.package-lock.json
  node node_modules/bun/install.js </dev/null && weft_npm_is_done
}

# The executable's time is that of the start of its build: what changed meanwhile is newer.
weft_build_is_done() {
  [ -x dist/weft ] || return
  [ -z "$(find . -mindepth 1 \( -name '.?*' -o -name node_modules -o -path ./dist \) -prune -o \
    -newer dist/weft ! -name '*.test.ts' ! -name '*.md' -print -quit)" ]
}

weft_build() {
  mkdir -p dist && node_modules/.bin/bun run scripts/build.ts </dev/null
}

# A directory can be locked as it is, even one on a read-only file system. The steps inherit the lock, so that
# a step that outlives a killed set-up still keeps the next one waiting.
weft_lock() {
  local code=0
  exec 9<.
  flock --nonblock --conflict-exit-code 75 9 || code=$?
  if [ "$code" -eq 75 ]; then
    weft_say "waiting for another set-up of this checkout to end"
    flock 9
  fi
}

# Root leaves nothing of its own in somebody else's home directory, nor in somebody else's checkout.
weft_prepare_checkout() {
  if weft_npm_is_done && weft_build_is_done; then return; fi
  [ -w . ] || weft_die "$PWD is read-only: clone it to where it can be written."
  if [ -n "${HOME-}" ] && [ ! -O "$HOME" ]; then
    export NPM_CONFIG_USERCONFIG=${NPM_CONFIG_USERCONFIG-$HOME/.npmrc} HOME=~root
  fi
  WEFT_OWNER=$(stat -c %u:%g .)
}

weft_end() {
  [ -z "${WEFT_DOING-}" ] || printf 'interrupted\n' >&8
  rm -f "${WEFT_LOG-}"
  local path owner=${WEFT_OWNER-0:0}
  for path in node_modules dist; do
    if [ "$owner" != 0:0 ] && [ -e "$path" ]; then chown -Rh "$owner" "$path"; fi
  done
}

# Runs a command as one step: a line that says what, and how long it took. Descriptor 8 is what 2 is outside.
weft_step() {
  local what=$1 code=0 started=${EPOCHREALTIME/[.,]/} tenths
  shift
  WEFT_LOG=$(mktemp 2>/dev/null) || weft_die "no temporary file can be made in ${TMPDIR:-/tmp}: make room there."
  WEFT_DOING=$what
  printf 'weft: %s ... ' "$what" >&2
  "$@" >"$WEFT_LOG" 2>&1 || code=$?
  WEFT_DOING=
  tenths=$(((${EPOCHREALTIME/[.,]/} - started) / 100000))
  if [ "$code" -ne 0 ]; then
    printf 'failed\n' >&2
    tail -n 20 "$WEFT_LOG" >&2
    weft_die "$what failed: $(weft_remedy)"
  fi
  printf '%d.%d s\n' $((tenths / 10)) $((tenths % 10)) >&2
  rm -f "$WEFT_LOG"
}

# What to do about a failed step, as its output and the disk tell.
weft_remedy() {
  local kilobytes place
  while read -r kilobytes place; do
    [ "$kilobytes" -gt 20000 ] || { echo "the disk is full at $place: make room there, up to 800 MB, and run this again."; return; }
  done < <(df -k --output=avail,target . "${TMPDIR:-/tmp}" "${HOME:-/}" /var 2>/dev/null | tail -n +2)
  case $(<"$WEFT_LOG") in
    *ENOSPC* | *"No space left"* | *"enough free space"*)
      echo "the disk is full: make room, up to 800 MB, and run this again." ;;
    *"Could not get lock"*)
      echo "another program is installing packages: wait for it to end and run this again." ;;
    *"Temporary failure resolving"* | *"Could not resolve"* | *"Could not connect"* | *"Unable to connect"*)
      echo "Debian's mirror cannot be reached: check the network, the name server and apt's proxy, and run this again." ;;
    *"Unable to locate package"* | *"no installation candidate"*)
      echo "add Debian's section main to /etc/apt/sources.list and run this again." ;;
    *EAI_AGAIN* | *ENOTFOUND* | *ECONNREFUSED* | *ECONNRESET* | *ETIMEDOUT* | *ENETUNREACH* | *EHOSTUNREACH* | *ERR_SOCKET_TIMEOUT*)
      echo "npm's registry cannot be reached: check the network, the name server and npm's proxy and registry, and run this again." ;;
    *SELF_SIGNED_CERT* | *UNABLE_TO_GET_ISSUER* | *UNABLE_TO_VERIFY*)
      echo "npm does not trust its registry's certificate: name your authority's file with npm's option cafile." ;;
    *) echo "the last lines of its output are above." ;;
  esac
}
