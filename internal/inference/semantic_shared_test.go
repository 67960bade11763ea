package inference_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
)

// sharedStore is a store of answers that several engines use, in memory.
type sharedStore struct {
	mu      sync.Mutex // guards what follows
	records map[cache.Key]cache.Record
	gone    bool // it cannot be asked
	forget  []func(func(model string) bool)
	told    []toldQuestion
}

type toldQuestion struct {
	scope cache.Scope
	data  []byte
}

func (s *sharedStore) Get(_ context.Context, k cache.Key) (cache.Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[k]
	return r, ok && !s.gone
}

func (s *sharedStore) Set(_ context.Context, k cache.Key, r cache.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records = make(map[cache.Key]cache.Record)
	}
	r.TTL = time.Hour
	s.records[k] = r
	return true
}

func (s *sharedStore) Join(ctx context.Context, k cache.Key, _ string, _ time.Time) (cache.Record, bool, func(cache.End)) {
	r, ok := s.Get(ctx, k)
	return r, ok, func(cache.End) {}
}

func (s *sharedStore) Clear(_ context.Context, model string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = nil
	for _, forget := range s.forget {
		forget(func(of string) bool { return model == "" || of == model })
	}
	return true
}

func (s *sharedStore) OnClear(forget func(func(model string) bool)) {
	s.forget = append(s.forget, forget)
}

func (s *sharedStore) State() cache.SharedState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cache.SharedState{Up: !s.gone}
}

func (s *sharedStore) tell(scope cache.Scope, data []byte) {
	s.told = append(s.told, toldQuestion{scope, data})
}

// replicas are two clients of engines that share answers, and their hosts.
func (s *sharedStore) replicas(c *client) (a, b *client, ofA, ofB *backendtest.Host) {
	start := func() (*client, *backendtest.Host) {
		one := &client{t: c.t, shares: true}
		one.opts.Cache = cache.Options{Size: 1 << 20, TTL: 10 * time.Minute, Shared: s}
		return one, one.comparing(inference.SemanticOptions{Tell: s.tell, TTL: time.Hour})
	}
	a, ofA = start()
	b, ofB = start()
	return a, b, ofA, ofB
}

// hears has the engine of a client hear of the question that was told first.
func (c *client) hears(s *sharedStore) {
	c.t.Helper()
	if len(s.told) == 0 {
		c.t.Fatal("no question was told")
	}
	if q := s.told[0]; !c.engine.HearQuestion(q.scope, q.data) {
		c.t.Errorf("it can make nothing of %s", q.data)
	}
}

func TestParaphraseOnOneReplicaIsAnsweredWithWhatAnotherHasAnswered(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		s := new(sharedStore)
		a, b, _, ofB := s.replicas(c)
		a.succeeds("generate", ask(first))
		b.hears(s)
		time.Sleep(20 * time.Minute) // longer than an answer stays in the memory of a replica
		got := b.succeeds("generate", ask(similar))
		if answered(ofB) != 0 || got.text != "an image that runs" || got.served.Source != inference.CachedSimilar || got.served.Age != 20*60 {
			t.Errorf("%d calls: %+v", answered(ofB), got)
		}
		if !strings.Contains(got.notes, first) {
			t.Errorf("the reader is not told of the question: %q", got.notes)
		}
		if len(s.told) != 1 {
			t.Errorf("%d questions were told, want the one with an answer of its own", len(s.told))
		}
		b.who.Tenant = "another"
		if b.succeeds("generate", ask(similar)); answered(ofB) != 1 {
			t.Error("another tenant got the answer")
		}
	})
}

func TestQuestionOfAnotherReplicaIsForgottenWithItsAnswerUnlessNobodyCanBeAsked(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		s := new(sharedStore)
		a, b, _, ofB := s.replicas(c)
		a.succeeds("generate", ask(first))
		b.hears(s)
		s.gone = true
		b.succeeds("generate", ask(similar))
		if got := b.status().Semantic; answered(ofB) != 1 || got.Refused["gone"] != 1 || got.Entries != 2 {
			t.Errorf("while the store is gone: %d calls, %+v; want an answer of its own, and both questions remembered", answered(ofB), got)
		}
		s.gone = false
		b.forget("tiny")
		b.hears(s)
		s.records = nil
		b.succeeds("generate", ask(similar))
		if got := b.status().Semantic; answered(ofB) != 2 || got.Refused["gone"] != 2 || got.Entries != 1 {
			t.Errorf("once the answer is gone: %d calls, %+v; want the new question alone", answered(ofB), got)
		}
	})
}

func TestClearingOnOneReplicaForgetsTheQuestionsOfAll(t *testing.T) {
	for model, left := range map[string]int{"": 0, "tiny": 0, "another": 1} {
		cacheStory(t, func(t *testing.T, c *client) {
			s := new(sharedStore)
			a, b, _, _ := s.replicas(c)
			a.succeeds("generate", ask(first))
			b.hears(s)
			a.forget(model)
			if got := b.status().Semantic.Entries; got != left {
				t.Errorf("after %q was cleared the other replica remembers %d questions, want %d", model, got, left)
			}
		})
	}
}
