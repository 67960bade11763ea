package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"ollama-mcp/internal/fleet"
)

func TestHostBehindANameIsReachedByItsAddressAndCalledByTheName(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // would look the name up itself
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Host
		io.WriteString(w, `{"version":"1.0"}`)
	}))
	defer srv.Close()
	address := netip.MustParseAddrPort(srv.Listener.Addr().String())
	name := fmt.Sprintf("gpus.example.com:%d", address.Port())
	host, err := open(fleet.Spec{Name: "gpus@127.0.0.1", URL: "http://" + name}, address.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if v, err := host.Version(t.Context()); v != "1.0" || err != nil || asked != name {
		t.Errorf("got %q, %v, asked as %q; want to be asked as %q", v, err, asked, name)
	}
}
