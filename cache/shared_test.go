package cache_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
)

// other is a shared store in memory. It tells what it was asked.
type other struct {
	mu      sync.Mutex // guards what follows
	records map[string]cache.Record
	flights []string
	until   time.Time // of the last Join
	ends    []cache.End
	full    bool // it stores nothing
	forget  func(func(string) bool)
}

func (o *other) Get(_ context.Context, k cache.Key) (cache.Record, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.records[k.String()]
	return r, ok
}

func (o *other) Set(_ context.Context, k cache.Key, r cache.Record) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full {
		return false
	}
	if o.records == nil {
		o.records = make(map[string]cache.Record)
	}
	r.TTL = time.Hour
	o.records[k.String()] = r
	return true
}

func (o *other) Join(ctx context.Context, k cache.Key, flight string, until time.Time) (cache.Record, bool, func(cache.End)) {
	r, ok := o.Get(ctx, k)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flights, o.until = append(o.flights, flight), until
	return r, ok, func(how cache.End) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ends = append(o.ends, how)
	}
}

func (o *other) Clear(context.Context, string) bool     { return true }
func (o *other) OnClear(forget func(func(string) bool)) { o.forget = forget }
func (o *other) State() cache.SharedState               { return cache.SharedState{} }

// texts is a codec of texts, but of secret ones.
type texts struct{}

func (texts) Encode(v cache.Value) []byte {
	if v == text("secret") {
		return nil
	}
	return []byte(v.(text))
}

func (texts) Decode(data []byte) (cache.Value, bool) { return text(data), string(data) != "broken" }

// twoOf are the caches of two processes that share a store.
func twoOf(t *testing.T) (a, b *cache.Cache[int], o *other) {
	o = new(other)
	shared := small
	shared.Shared, shared.Codec = o, texts{}
	a = open(t, shared)
	b = open(t, shared)
	return a, b, o
}

func giving(says text, keep bool, err error) cache.Fill {
	return func(context.Context, cache.Waiters) (cache.Entry, bool, error) {
		return cache.Entry{Value: says}, keep, err
	}
}

// from fetches an answer, and fails the test unless it is one from a source.
func from(t *testing.T, c *cache.Cache[int], l cache.Lookup, fill cache.Fill, want text, source cache.Source) cache.Entry {
	t.Helper()
	got, is, err := c.Fetch(t.Context(), l, 0, nil, fill)
	if got.Value != want || is != source {
		t.Errorf("got %v from %s, error %v; want %v from %s", got.Value, is, err, want, source)
	}
	return got
}

func TestAnswerOfAnotherProcessIsFoundAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, o := twoOf(t)
		l := cache.Lookup{Key: keyOf(t, "question")}
		from(t, a, l, giving("answer", true, nil), "answer", cache.Miss)
		time.Sleep(time.Minute)
		got := from(t, b, l, giving("another", true, nil), "answer", cache.SharedHit)
		if age := time.Since(got.Stored); age != time.Minute {
			t.Errorf("its age is %v, want that since it was made", age)
		}
		from(t, b, l, giving("another", true, nil), "answer", cache.Hit) // from memory now
		if n := len(o.flights); n != 2 {
			t.Errorf("the store was asked %d times, want once by each process", n)
		}
		if s := b.Stats(); s.Shared != 1 || s.Hits != 1 || s.Misses != 0 {
			t.Errorf("got %+v", s)
		}
		o.forget(func(model string) bool { return model == "qwen3:8b" })
		o.records = nil
		from(t, b, l, giving("another", true, nil), "another", cache.Miss)
		a.Close()
		b.Close()
	})
}

func TestSharedAnswerIsKeptInMemoryNoLongerThanAnOwnOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := twoOf(t)
		l := cache.Lookup{Key: keyOf(t, "question")}
		from(t, a, l, giving("answer", true, nil), "answer", cache.Miss)
		time.Sleep(small.TTL / 2)
		from(t, b, l, nil, "answer", cache.SharedHit)
		time.Sleep(small.TTL - time.Second)
		from(t, b, l, nil, "answer", cache.Hit)
		time.Sleep(2 * time.Second)
		from(t, b, l, nil, "answer", cache.SharedHit) // the store has it for an hour
		a.Close()
		b.Close()
	})
}

func TestEndOfEveryFillIsTold(t *testing.T) {
	broken := errors.New("connection refused")
	for _, c := range []struct {
		says text
		keep bool
		err  error
		full bool
		want cache.End
	}{
		{"answer", true, nil, false, cache.Stored},
		{"answer", false, nil, false, cache.NotShared},
		{"secret", true, nil, false, cache.NotShared},
		{"answer", true, nil, true, cache.NotShared},
		{"answer", true, broken, false, cache.Failed},
	} {
		a, _, o := twoOf(t)
		o.full = c.full
		from(t, a, cache.Lookup{Key: keyOf(t, "question")}, giving(c.says, c.keep, c.err), c.says, cache.Miss)
		if len(o.ends) != 1 || o.ends[0] != c.want {
			t.Errorf("%+v: the ends are %v", c, o.ends)
		}
	}
	a, _, o := twoOf(t)
	_, _, err := a.Fetch(t.Context(), cache.Lookup{Key: keyOf(t, "question")}, 0, nil, func(context.Context, cache.Waiters) (cache.Entry, bool, error) { panic("boom") })
	if _, ok := errors.AsType[*cache.PanicError](err); !ok || len(o.ends) != 1 || o.ends[0] != cache.Failed {
		t.Errorf("after a panic: error %v, ends %v", err, o.ends)
	}
}

func TestCallsThatWantTheirOwnAnswerJoinNoOtherProcess(t *testing.T) {
	a, b, o := twoOf(t)
	key := keyOf(t, "question")
	from(t, b, cache.Lookup{Key: key, Alone: true}, giving("own", true, nil), "own", cache.Miss)
	from(t, a, cache.Lookup{Key: key, Alone: true}, nil, "own", cache.SharedHit)
	from(t, a, cache.Lookup{Key: key, Policy: cache.Refresh}, giving("new", true, nil), "new", cache.Miss)
	from(t, a, cache.Lookup{Key: key, Policy: cache.Off}, giving("off", true, nil), "off", cache.Miss)
	if len(o.flights) != 0 {
		t.Errorf("they joined %q", o.flights)
	}
	if r, _ := o.Get(t.Context(), key); string(r.Data) != "new" {
		t.Errorf("%q is shared, want the refreshed answer", r.Data)
	}
}

func TestFlightsAreToldApartAndLeaveHalfOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, o := twoOf(t)
		for _, variant := range []any{struct{ p int }{1}, struct{ p int }{2}} {
			l := cache.Lookup{Key: keyOf(t, "question"), Variant: variant, Deadline: time.Now().Add(time.Minute)}
			from(t, a, l, giving("answer", false, nil), "answer", cache.Miss)
		}
		if o.flights[0] == o.flights[1] {
			t.Errorf("both are called %q", o.flights[0])
		}
		if left := time.Until(o.until); left != 30*time.Second {
			t.Errorf("the wait may take %v of a minute", left)
		}
		a.Close()
	})
}

func TestSharedAnswerThatCannotBeReadIsAMiss(t *testing.T) {
	a, _, o := twoOf(t)
	key := keyOf(t, "question")
	o.Set(t.Context(), key, cache.Record{Data: []byte("broken")})
	from(t, a, cache.Lookup{Key: key}, giving("answer", true, nil), "answer", cache.Miss)
}

func TestAnswerUnderAnotherKeyIsFoundInTheSharedStoreToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, o := twoOf(t)
		key := keyOf(t, "question")
		if _, ok := b.Find(t.Context(), key); ok {
			t.Error("found what nobody has answered")
		}
		from(t, a, cache.Lookup{Key: key}, giving("answer", true, nil), "answer", cache.Miss)
		for range 2 {
			if e, ok := b.Find(t.Context(), key); !ok || e.Value != text("answer") {
				t.Errorf("got %+v, %v", e, ok)
			}
			o.records = nil // it is in memory now
		}
		if s := b.Stats(); s.Shared != 1 || s.Hits != 1 || s.Misses != 0 {
			t.Errorf("got %+v, want one hit of each, and no miss: that is counted by the call's own look-up", s)
		}
		a.Close()
		b.Close()
	})
}
