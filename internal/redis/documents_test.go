package redis

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestDocumentOfOneReplicaIsReadFromTheOthersByItsTenantForItsTime(t *testing.T) {
	for name, key := range map[string][]byte{"open": nil, "sealed": []byte("a secret of more than 32 bytes, for a test")} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				seal := func(o *Options) { o.SealKey = key }
				a, _ := w.replica(seal)
				b, _ := w.replica(seal)
				const uri = "ollama://embeddings/abc"
				reads := func(tenant, uri, want string) {
					t.Helper()
					if got, ok := b.Document(t.Context(), tenant, uri); string(got) != want || ok != (want != "") {
						t.Errorf("read %.100q, %v, want %.100q", got, ok, want)
					}
				}
				reads("team", uri, "")
				a.PutDocument(t.Context(), "team", uri, []byte("[0.25]"), 15*time.Minute)
				reads("team", uri, "[0.25]")
				reads("other", uri, "")
				reads("team", uri+"x", "")
				a.Clear(t.Context(), "")
				reads("team", uri, "[0.25]") // it is no answer that others get
				for _, name := range w.server.Keys() {
					if text, _ := w.server.Get(name); key != nil && (strings.Contains(text, "0.25") || strings.Contains(name, "embeddings")) {
						t.Errorf("%s is not sealed", name)
					}
				}
				w.server.FastForward(15 * time.Minute)
				reads("team", uri, "")
			})
		})
	}
}

func TestDocumentThatIsTooLargeOrBrokenIsNotThere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.replica()
		large := make([]byte, maxRecord+1)
		random := rand.New(rand.NewPCG(1, 2))
		for i := range large {
			large[i] = byte(random.Uint32())
		}
		c.PutDocument(t.Context(), "team", "large", large, time.Minute)
		if err := w.server.Set(c.keyOfDocument("broken"), "another program's"); err != nil {
			t.Fatal(err)
		}
		w.server.SetAdd(c.keyOfDocument("set"), "a set")
		for _, uri := range []string{"large", "broken", "set"} {
			if data, ok := c.Document(t.Context(), "team", uri); ok {
				t.Errorf("%s: read %.100q", uri, data)
			}
		}
		if n := c.State().Unreadable; n != 2 {
			t.Errorf("%d are unreadable, want those that are broken", n)
		}
		w.swallows.Store(true)
		began := time.Now()
		for range 10 {
			c.PutDocument(t.Context(), "team", "late", []byte("x"), time.Minute)
			_, _ = c.Document(t.Context(), "team", "late")
		}
		if took := time.Since(began); took > commandTime {
			t.Errorf("ten calls waited %v for a server that does not answer", took)
		}
	})
}
