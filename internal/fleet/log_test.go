package fleet_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/fleet"
)

// lines is a log that many may write to.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take is what was logged since the last take, without the time.
func (l *lines) take() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestTroubleIsLoggedOnceAndItsEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		w := newWorld(t, fleet.Options{Log: log.logger()})
		check := func(when, want string) {
			t.Helper()
			if got := log.take(); got != want {
				t.Errorf("%s:\n%swant\n%s", when, got, want)
			}
		}
		w.set(spec("a"), fleet.Spec{Name: "gpu", URL: "dns+http://user:secret@gpus.svc"})
		time.Sleep(5 * time.Minute)
		check("an unknown name", `level=WARN msg="cannot look up hosts; the known ones stay" host=gpu error="no such host"`+"\n")

		w.resolves("gpus.svc", "10.0.0.1", "10.0.0.2")
		w.breaks("gpu@10.0.0.2")
		time.Sleep(nextLookup / 2)
		check("a host that cannot be opened", `level=INFO msg="host found" host=gpu@10.0.0.1`+"\n"+
			`level=WARN msg="cannot use host" host=gpu@10.0.0.2 error="no certificate in ca.pem"`+"\n")
		w.resolves("gpus.svc", "10.0.0.1")
		time.Sleep(nextLookup)
		check("a name as it was", "")

		w.machine("a").Down()
		time.Sleep(5 * time.Minute)
		check("a host that is down", `level=WARN msg="host does not answer" host=a error="a: unreachable: connection refused"`+"\n")
		w.machine("a").Mend()
		time.Sleep(nextLookup)
		check("a host that is back", `level=INFO msg="host answers again" host=a`+"\n")

		w.setLookup("gpus.svc", errors.New("server misbehaving"))
		time.Sleep(5 * time.Minute)
		check("a name server in trouble", `level=WARN msg="cannot look up hosts; the known ones stay" host=gpu error="server misbehaving"`+"\n")
		w.resolves("gpus.svc", "10.0.0.3")
		time.Sleep(nextLookup)
		check("other hosts", `level=INFO msg="host found" host=gpu@10.0.0.3`+"\n"+`level=INFO msg="host has gone" host=gpu@10.0.0.1`+"\n")
	})
}
