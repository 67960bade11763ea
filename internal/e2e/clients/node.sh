#!/usr/bin/env bash
# Runs a JavaScript program with the packages of this folder, installing them
# first where that has not been done: node.sh PROGRAM [ARGUMENT...]
#
# A program is a file of this folder, one among the packages, or a path from the root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
oldest=22.19.0 # what the Inspector asks for

# 127 is what a shell answers for a program that it cannot run, so that nobody
# takes this for the program's own failure.
fail() { echo "node.sh: $*" >&2; exit 127; }

main() {
	if ! installed; then
		install_once
	fi
	local program=$1 runtime
	shift
	if [[ $program == /* ]]; then
		:
	elif [[ -e $here/$program ]]; then
		program=$here/$program
	else
		program=$here/node_modules/$program
	fi
	runtime=$(node)
	exec "$runtime" "$program" "$@"
}

# npm notes what it has installed in a file, which is thus newer than the list
# that it was installed from.
installed() { [[ $here/node_modules/.package-lock.json -nt $here/package-lock.json ]]; }

install_once() {
	(
		if command -v flock >/dev/null; then
			exec 9>"$here/.lock"
			flock 9
		fi
		installed ||
			npm ci --no-audit --no-fund --prefix "$here" >&2 9>&- &&
			touch "$here/node_modules/.package-lock.json"
	) || fail "could not install the packages of $here"
}

# node prints the path of the machine's Node, or, where that is too old, of the
# one that came with the packages.
node() {
	local own version
	own=$(type -P node || true)
	version=$([[ -z $own ]] || "$own" --version)
	if [[ -n $own && $(printf '%s\n' "v$oldest" "$version" | sort -V | head -1) == "v$oldest" ]]; then
		echo "$own"
		return
	fi
	local candidate
	for candidate in "$here"/node_modules/node-*/bin/node; do
		if [[ -x $candidate ]]; then
			echo "$candidate"
			return
		fi
	done
	fail "needs Node $oldest or newer, and the machine has ${version:-none}"
}

main "$@"
