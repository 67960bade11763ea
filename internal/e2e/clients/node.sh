#!/usr/bin/env bash
# Prints the path of a Node that can run the packages of this folder, and installs them
# first where that has not been done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
oldest=22.19.0 # what the Inspector asks for

fail() { echo "node.sh: $*" >&2; exit 1; }

main() {
	if ! installed; then
		install_once
	fi
	node
}

# installed reports whether the packages of this list are there, and a Node to run them.
installed() { [[ -e $here/node_modules/.complete-$(list_sum) ]] && node >/dev/null; }

list_sum() { cksum <"$here/package-lock.json" | tr ' ' -; }

# The packages go to the user's cache, once per list, and all clones of the repository link to
# them: they are 800 MB, and installing them takes a minute of two cores. The package with
# Node is an optional one, which npm leaves out without a word when it cannot be fetched: so
# there is a second try.
install_once() {
	local store
	store=${XDG_CACHE_HOME:-$HOME/.cache}/ollama-mcp/clients-$(list_sum)
	(
		mkdir -p "$store"
		if command -v flock >/dev/null; then
			exec 9>"$store.lock"
			flock 9
		fi
		for _ in 1 2; do
			if [[ ! -e $store/node_modules/.complete-$(list_sum) ]]; then
				cp "$here"/{package.json,package-lock.json,.npmrc} "$store"
				npm ci --no-audit --no-fund --prefix "$store" >&2 9>&- || exit 1
				touch "$store/node_modules/.complete-$(list_sum)"
			fi
			link "$store/node_modules"
			if installed; then
				exit 0
			fi
			rm -f "$store/node_modules/.complete-$(list_sum)"
		done
		exit 1
	) || fail "could not install the packages of $here, or a Node of $oldest or newer; the machine's own is $(own_version)"
}

# link replaces the link to the packages of another list, or a folder with packages.
link() {
	[[ -L $here/node_modules ]] || rm -rf "$here/node_modules"
	ln -sfn "$1" "$here/node_modules"
}

# node prints the path of the machine's Node, or, where that is too old, of the
# one that came with the packages. It fails where there is neither.
node() {
	local own version candidate
	own=$(type -P node || true)
	version=$(own_version)
	if [[ -n $own && $(printf '%s\n' "v$oldest" "$version" | sort -V | head -1) == "v$oldest" ]]; then
		echo "$own"
		return
	fi
	for candidate in "$here"/node_modules/node-*/bin/node; do
		if [[ -x $candidate ]]; then
			echo "$candidate"
			return
		fi
	done
	return 1
}

own_version() {
	local own
	own=$(type -P node) && "$own" --version || echo none
}

main
