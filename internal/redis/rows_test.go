package redis

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"
)

func TestAnswersOfABatchAreFoundByOtherReplicas(t *testing.T) {
	for name, key := range map[string][]byte{"open": nil, "sealed": []byte("a secret of more than 32 bytes, for a test")} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				change := func(o *Options) { o.SealKey, o.TTL = key, time.Minute }
				a, _ := w.replica(change)
				b, _ := w.replica(change)
				have := func(c *Client, batch, want string) {
					t.Helper()
					rows := c.Rows(batch, []string{"k1", "k2", "k3"})
					got := string(rows["k1"]) + "," + string(rows["k2"]) + "," + string(rows["k3"])
					if got != want {
						t.Errorf("got %.100s, want %s", got, want)
					}
				}
				random := make([]byte, 2*maxRow)
				_, _ = rand.Read(random)
				a.PutRow("batch", "k1", []byte("because"))
				a.PutRow("batch", "k2", random)
				a.PutRow("batch", "k3", []byte(strings.Repeat("because ", 10000)))
				have(b, "batch", "because,,"+strings.Repeat("because ", 10000))
				have(b, "another", ",,")
				if n := a.State().TooLarge; n != 1 {
					t.Errorf("%d answers were too large, want 1", n)
				}
				if key != nil && strings.Contains(w.server.Dump(), "because") {
					t.Error("they are not sealed")
				}
				_ = w.server.Set(b.keyOfRow("batch", "k1"), "another program's")
				b.DropRows("batch", []string{"k3"})
				have(a, "batch", ",,")
				a.PutRow("batch", "k1", []byte("anew"))
				w.server.FastForward(time.Minute - time.Second)
				have(b, "batch", "anew,,")
				w.server.FastForward(time.Second)
				have(b, "batch", ",,")

				w.swallows.Store(true)
				have(b, "batch", ",,")
				began := time.Now()
				for range 100 {
					a.PutRow("batch", "k1", []byte("because"))
					have(b, "batch", ",,")
				}
				if took := time.Since(began); took > commandTime {
					t.Errorf("it took %v without a Redis", took)
				}
			})
		})
	}
}
