package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
)

// listener is a replica that tells and hears questions.
type listener struct {
	*Client
	mu    sync.Mutex // guards what follows
	heard []string   // tenant and text of each question
}

// listening starts a replica that shares questions.
func (w *world) listening(change ...func(*Options)) *listener {
	w.t.Helper()
	c, _ := w.replica(change...)
	l := &listener{Client: c}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		c.ShareQuestions(ctx, func(scope cache.Scope, data []byte) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.heard = append(l.heard, scope.Tenant+": "+string(data))
			return string(data) != "nonsense"
		})
	})
	w.t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	return l
}

// tells has a replica tell of a question of a tenant, about an answer of the model tiny.
func (l *listener) tells(tenant, text string) {
	l.TellQuestion(cache.Scope{Tenant: tenant, Tool: "generate", Model: "tiny", Digest: "sha256:1"}, []byte(text))
	synctest.Wait()
}

// hears fails the test unless a replica has heard of these questions since it was last asked.
func (l *listener) hears(t *testing.T, want ...string) {
	t.Helper()
	time.Sleep(questionInterval)
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.heard, want) {
		t.Errorf("heard %.300q, want %.300q", l.heard, want)
	}
	l.heard = nil
}

func TestQuestionsOfOneReplicaAreHeardByTheOthersWithinASecondAndByLaterOnes(t *testing.T) {
	for name, key := range map[string][]byte{"open": nil, "sealed": []byte("a secret of more than 32 bytes, for a test")} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				seal := func(o *Options) { o.SealKey = key }
				a, b := w.listening(seal), w.listening(seal)
				elsewhere := w.listening(seal, func(o *Options) { o.Prefix = "staging" })
				a.tells("team", "why?")
				a.tells("other", "how?")
				b.hears(t, "team: why?", "other: how?")
				b.hears(t) // once
				a.hears(t) // it knows
				elsewhere.hears(t)
				later := w.listening(seal)
				later.hears(t, "team: why?", "other: how?")
				for _, name := range w.server.Keys() {
					entries, _ := w.server.Stream(name)
					if text := fmt.Sprint(entries); key != nil && (strings.Contains(text, "why?") || strings.Contains(text, "team")) {
						t.Errorf("%s is not sealed: %.300s", name, text)
					}
				}
				w.listening(func(o *Options) { o.SealKey = []byte(strings.Repeat("another secret ", 3)) }).hears(t)
			})
		})
	}
}

func TestAllQuestionsAreHeardHoweverManyWereTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.listening()
		var all []string
		for i := range 3*questionsAtOnce + 1 {
			a.tells("team", fmt.Sprint(i))
			all = append(all, fmt.Sprint("team: ", i))
		}
		w.listening().hears(t, all...)
	})
}

func TestQuestionsThatWereClearedAreNotHeard(t *testing.T) {
	for _, c := range []struct {
		clear string // model
		hears []string
	}{
		{"", []string{"team: how?"}},
		{"tiny", []string{"team: how?"}},
		{"another", []string{"team: why?", "team: how?"}},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			a, b := w.listening(), w.listening()
			a.tells("team", "why?")
			b.hears(t, "team: why?")
			if !b.Clear(t.Context(), c.clear) {
				t.Fatal("the others were not told")
			}
			time.Sleep(2 * beatInterval)
			a.tells("team", "how?")
			b.hears(t, "team: how?")
			w.listening().hears(t, c.hears...)
		})
	}
}

// TestQuestionThatIsToldAfterAllWasClearedIsHeardWhoeverHearsOfThatFirst has replicas that hear of it
// at other times.
func TestQuestionThatIsToldAfterAllWasClearedIsHeardWhoeverHearsOfThatFirst(t *testing.T) {
	for _, model := range []string{"", "tiny"} {
		inWorld(t, func(t *testing.T, w *world) {
			a := w.listening()
			time.Sleep(beatInterval / 2) // so that the other one beats at other times
			b := w.listening()
			a.Clear(t.Context(), model)
			a.tells("team", "how?")
			time.Sleep(2 * questionInterval)
			b.hears(t, "team: how?")
		})
	}
}

func TestStreamOfQuestionsIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.listening()
		noise := make([]byte, 100<<10) // which cannot be compressed
		random := rand.New(rand.NewPCG(1, 2))
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		for range 400 {
			a.tells("team", string(noise))
		}
		a.tells("team", strings.Repeat("x", maxQuestion+1)) // which is told to nobody
		entries, err := w.server.Stream(a.keyOfQuestions(a.era()))
		if size := len(entries) * len(noise); err != nil || size > questionBytes || size < questionBytes/2 {
			t.Errorf("%d questions take %d bytes, want at most %d; error %v", len(entries), size, questionBytes, err)
		}
		if ttl := w.server.TTL(a.keyOfQuestions(a.era())); ttl != time.Hour {
			t.Errorf("the stream is kept for %v, want as long as its last answer", ttl)
		}
	})
}

func TestWhatIsNoQuestionIsLeftOutAndSaidOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.listening(), w.listening()
		a.tells("team", "why?")
		b.hears(t, "team: why?")
		key := a.keyOfQuestions(a.era())
		entries, err := w.server.Stream(key)
		if err != nil {
			t.Fatal(err)
		}
		good := entries[0].Values[1]
		for _, bad := range []string{"", "\x02" + good[1:], good[:len(good)/2], "nonsense", strings.Repeat(good, maxRecord/len(good)+1)} {
			if _, err := w.server.XAdd(key, "*", []string{"another", bad}); err != nil {
				t.Fatal(err)
			}
		}
		a.tells("team", "nonsense")
		a.tells("team", "how?")
		b.hears(t, "team: nonsense", "team: how?")
		if n := b.State().Unreadable; n != 6 {
			t.Errorf("%d are unreadable, want 6", n)
		}

		w.server.Server().SetPreHook(func(p *miniredisPeer, cmd string, _ ...string) bool { // as one that has no streams
			if cmd != "XADD" && cmd != "XREAD" {
				return false
			}
			p.WriteError("ERR unknown command '" + cmd + "'")
			return true
		})
		a.tells("team", "who?")
		b.hears(t)
		before := b.State().Unreadable
		time.Sleep(10 * questionInterval)
		if now := b.State().Unreadable; before != 7 || now != before {
			t.Errorf("%d could not be read, and %d ten seconds later, want that it is tried again after a while only", before, now)
		}
		w.server.Server().SetPreHook(nil)
		time.Sleep(warnInterval)
		a.tells("team", "when?")
		b.hears(t, "team: when?")
		if n := w.log.count("cannot be used"); n > 4 {
			t.Errorf("the log says it %d times in two minutes on two replicas", n)
		}
		if s := b.State(); !s.Up || s.Reason != "" {
			t.Errorf("got the state %+v", s)
		}
	})
}

func TestNobodyWaitsToTellWhileRedisIsGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.listening(), w.listening()
		a.tells("team", "why?")
		b.hears(t, "team: why?")
		w.swallows.Store(true)
		began := time.Now()
		for range 10 * questionsWaiting {
			a.TellQuestion(cache.Scope{Tenant: "team", Model: "tiny"}, []byte("lost"))
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("telling took %v", took)
		}
		time.Sleep(time.Minute)
		a.tells("team", "lost")
		w.swallows.Store(false)
		time.Sleep(5 * time.Second)
		b.mu.Lock()
		b.heard = nil // some may have been sent, and arrived at last
		b.mu.Unlock()
		a.tells("team", "how?")
		b.hears(t, "team: how?")
		w.server.FlushAll()
		time.Sleep(5 * time.Second)
		a.tells("team", "who?")
		b.hears(t, "team: who?")
	})
}
