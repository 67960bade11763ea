//go:build !race

package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// standIn is in the place of our server: the control by MCP, and a proxy as the gateway.
func standIn() {
	if !slices.Contains(os.Args, "--gateway") {
		control := os.Getenv("OVERHEAD_SERVER")
		fmt.Fprintln(os.Stderr, syscall.Exec(control, []string{control}, os.Environ()))
		os.Exit(1)
	}
	to, err := url.Parse(os.Getenv("OLLAMA_HOST"))
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "msg=starting\nmsg=listening api=mcp address=%s\n", l.Addr())
	panic(http.Serve(l, httputil.NewSingleHostReverseProxy(to)))
}

func TestAllFrontsAreMeasured(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	p := plan{server: []string{"env", "OVERHEAD_SERVER=" + controlBinary, os.Args[0]}, callers: 4, fullCalls: 40, command: "make bench-fronts"}
	if err := measureFronts(t.Context(), p, []string{"env", "OVERHEAD_MAIN=1", os.Args[0]}, &page); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.String(), "with `make bench-fronts`") || !strings.Contains(page.String(), "The pool makes ") ||
		!strings.Contains(page.String(), "of 40 calls by 16 callers for 500 questions") {
		t.Errorf("got\n%s", &page)
	}
	for front, connections := range map[string]string{frontOne: "1", frontNaive: `[1-9]\d*`, frontPool: `[1-9]\d*`, frontMCP: `[1-9]\d*`, frontGateway: `[1-9]\d*`} {
		calls := "40"
		if front == frontOne {
			calls = "1"
		}
		row := `(?m)^\| ` + front + ` \| ` + calls + ` \|( [0-9.]+ m?s \|){4} [0-9.]+ \| 0 \| ` + connections + ` \| [1-9]\d* µs \| [1-9]\d* MB \|$`
		if !regexp.MustCompile(row).MatchString(page.String()) {
			t.Errorf("no row %s in\n%s", row, &page)
		}
	}
}

func TestServerThatDoesNotListenFailsTheRun(t *testing.T) {
	t.Parallel()
	if _, err := serveGateway(t.Context(), []string{"sh", "-c", "echo no >&2; exit 1"}, ""); err == nil || !strings.Contains(err.Error(), "sh does not say where it listens") {
		t.Errorf("got %v", err)
	}
	err := frontPlan{Front: frontMCP, URL: "http://127.0.0.1:1", Callers: 1, Calls: 1}.measure(t.Context(), []string{"false"}, new(strings.Builder))
	if err == nil {
		t.Error("a server that ends at once was measured")
	}
}

func TestStreamsThroughGatewaysAreMeasuredBesideTheHost(t *testing.T) {
	t.Parallel()
	server := []string{"env", "OVERHEAD_SERVER=" + controlBinary, os.Args[0]}
	kinds := gatewayKinds(server, "", "")[:1]
	kinds = append(kinds, gatewayKind{"another", kinds[0].begin})
	var out strings.Builder
	if err := compareGateways(t.Context(), kinds, plan{rounds: 1, calls: 20}, &out); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		`directly +ours +another`, `32 streams: to the first piece, µs( +[1-9]\d*\.\d){3}`, `1 stream: from piece to piece, µs( +[1-9]\d*\.\d){3}`,
		`8 streams: processor time a stream, µs +0\.0( +[1-9]\d*\.\d){2}`, `every tenth request gets 503: streams that failed, %( +[1-9]\d*\.\d){3}`, `1 stream: streams a second( +[1-9]\d*\.\d){3}`, `1 stream: streams that failed, %( +0\.0){3}`,
	} {
		if !regexp.MustCompile(row).MatchString(out.String()) {
			t.Errorf("no row %s in\n%s", row, &out)
		}
	}
	if _, _, err := serveOlla(t.Context(), "/nonexistent", t.TempDir(), "", model); err == nil {
		t.Error("a program that is not there was started")
	}
}
