package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
)

// A gate is a proxy before an Ollama that holds requests for answers back while it is
// shut: so a test can have a model load, or an answer take, as long as it needs, on
// machines of any speed. All other requests pass.
type gate struct {
	*httptest.Server
	models []string // whose requests are held back; nil means all

	mu      sync.Mutex    // guards what follows
	shut    chan struct{} // closed when the gate opens
	waiting int
	most    int // the most that have waited at once
	arrived int // requests that had to wait, in all
}

// startGate starts a gate that is shut for requests that name one of the models.
func startGate(t *testing.T, ollama *ollamatest.Server, models ...string) *gate {
	t.Helper()
	target, err := url.Parse(ollama.URL())
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{models: models, shut: make(chan struct{})}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.pass(r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(g.Close)
	t.Cleanup(g.open) // before, or Close would wait for what is held back
	return g
}

// pass returns when a request may pass, or with false when its client has left.
func (g *gate) pass(r *http.Request) bool {
	if r.URL.Path != "/api/generate" && r.URL.Path != "/api/chat" {
		return true
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !g.holds(string(body)) {
		return true
	}
	g.mu.Lock()
	shut := g.shut
	g.waiting++
	g.arrived++
	g.most = max(g.most, g.waiting)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.waiting--
	}()
	select {
	case <-shut:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (g *gate) holds(body string) bool {
	for _, model := range g.models {
		if strings.Contains(body, `"`+model+`"`) {
			return true
		}
	}
	return g.models == nil
}

// open lets pass what waits and what comes.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.shut: // open already
	default:
		close(g.shut)
	}
}

// shutAgain holds back what comes from now on.
func (g *gate) shutAgain() {
	g.open()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

// counts are how many requests wait at present, how many have at most at once, and how
// many have had to in all.
func (g *gate) counts() (waiting, most, arrived int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting, g.most, g.arrived
}
