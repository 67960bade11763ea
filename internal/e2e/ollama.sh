#!/usr/bin/env bash
# Finds Ollama servers for the tests, or builds them, and prints their paths:
# nothing else goes to standard output.
#
#   ollama.sh            the server that most tests use: $OLLAMA_BIN, ollama on
#                        the PATH, or the version that go.mod requires
#   ollama.sh oldest     the oldest version that tests run on
#   ollama.sh newest     the newest version that tests run on
#   ollama.sh all        the three of them, one path a line
#
# Building takes minutes, once per version; the result stays in the user's
# cache. The oldest version and the one of go.mod run models themselves. The
# newest is the server alone: its engine is a program that ollamatest adds.
set -euo pipefail

module=github.com/ollama/ollama
oldest=v0.17.4
newest=v0.34.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"

# What a build in progress leaves behind when this script is stopped.
build='' partial=''

say() { echo "ollama.sh: $*" >&2; }
fail() { say "$@"; exit 1; }

main() {
	case ${1:-} in
	'') usual ;;
	oldest) built "$oldest" ;;
	newest) built "$newest" ;;
	all)
		usual
		built "$oldest"
		built "$newest"
		;;
	*) fail "usage: ollama.sh [oldest|newest|all]" ;;
	esac
}

# usual prints the path of the server that most tests use.
usual() {
	local version
	if [[ -n ${OLLAMA_BIN:-} ]]; then
		[[ -x $OLLAMA_BIN ]] || fail "OLLAMA_BIN is $OLLAMA_BIN, which cannot be run"
		echo "$OLLAMA_BIN"
	elif ! type -P ollama; then
		need_go
		version=$(go list -m -f '{{.Version}}' "$module")
		built "$version"
	fi
}

# built prints the path of a server of that version, and builds it if need be.
built() {
	local version=$1 cache
	need_go
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/ollama-mcp/ollama-$version
	if [[ ! -x $cache/ollama ]]; then
		mkdir -p "$cache"
		build_once "$version" "$cache"
	fi
	echo "$cache/ollama"
}

need_go() { command -v go >/dev/null || fail "needs Go to build Ollama"; }

# build_once lets one caller build while the others wait for what it makes.
build_once() {
	local version=$1 cache=$2
	if command -v flock >/dev/null; then
		exec 9>"$cache/lock"
		flock --nonblock 9 || { say "waiting for another build to end"; flock 9; }
	fi
	if [[ ! -x $cache/ollama ]]; then
		need_packages
		compile "$version" "$cache/ollama"
	fi
	exec 9>&-
}

# need_packages sees to a compiler, and to the headers of others that llama.cpp
# keeps in a folder called vendor, which module archives leave out. For the third
# of them, miniaudio, there is a stand-in in the folder headers.
need_packages() {
	local missing=() compiler
	compiler=$(go env CXX)
	command -v "${compiler%% *}" >/dev/null || missing+=(g++ libc6-dev)
	has_header nlohmann/json.hpp || missing+=(nlohmann-json3-dev)
	has_header stb/stb_image.h || missing+=(libstb-dev)
	[[ ${#missing[@]} -gt 0 ]] || return 0

	if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
		fail "needs a C++ compiler and headers; on Debian: apt-get install ${missing[*]}"
	fi
	say "installing ${missing[*]}"
	local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
	"${apt[@]}" update >&2
	DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2
}

has_header() {
	local compiler
	read -ra compiler <<<"$(go env CXX)"
	"${compiler[@]}" -fsyntax-only -x c++ - <<<"#include <$1>" 2>/dev/null
}

# compile builds in a folder of its own and moves the result into place, so that
# a build that was stopped halfway leaves no broken server behind. The version
# is that of a module by itself: Go verifies it against its checksum database.
compile() {
	local version=$1 target=$2
	say "building Ollama $version, once: some minutes on two cores"
	partial=$target.$$
	trap clean_up EXIT
	# By default cgo makes debug symbols too, which takes half as long again.
	GOBIN=$partial GOWORK=off CGO_ENABLED=1 CGO_CFLAGS=-O2 CGO_CXXFLAGS=-O2 CGO_CPPFLAGS="-I$here/headers ${CGO_CPPFLAGS:-}" \
		go install -trimpath -ldflags "-s -w -X $module/version.Version=${version#v}" "$module@$version" >&2 9>&- &
	build=$!

	SECONDS=0
	local next=30
	while kill -0 "$build" 2>/dev/null; do
		sleep 1
		if ((SECONDS >= next)); then
			say "still compiling after $SECONDS s"
			next=$((SECONDS + 30))
		fi
	done
	wait "$build" || fail "the build failed"
	build=''
	mv "$partial/ollama" "$target"
	clean_up
	say "built in $SECONDS s"
}

clean_up() {
	[[ -z $build ]] || kill "$build" 2>/dev/null || true
	rm -rf "$partial"
}

main "$@"
