package batch_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/batch"
)

// store is what replicas keep for each other.
type store struct {
	mu   sync.Mutex
	rows map[string][]byte
	gone bool // it has nothing, and keeps nothing
}

func (s *store) PutRow(batch, key string, row []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows == nil {
		s.rows = make(map[string][]byte)
	}
	if !s.gone {
		s.rows[batch+" "+key] = row
	}
}

func (s *store) Rows(batch string, keys []string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make(map[string][]byte)
	for _, key := range keys {
		if row, ok := s.rows[batch+" "+key]; ok && !s.gone {
			rows[key] = row
		}
	}
	return rows
}

func (s *store) DropRows(batch string, keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.rows, batch+" "+key)
	}
}

func TestBatchOfAReplicaThatDiedGoesOnOnAnother(t *testing.T) {
	for name, dirs := range map[string][]string{"in memory": {"", "", ""}, "on disks of their own": {t.TempDir(), t.TempDir(), t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, shared, next := &engine{digests: "one"}, new(store), 0
				replica := func() *batch.Journals {
					next++
					return batch.NewJournals(batch.JournalOptions{Dir: dirs[next-1], Shared: shared})
				}
				b, err := batch.New(t.Context(), spec(e, replica(), numbers(50)))
				if err != nil {
					t.Fatal(err)
				}
				ctx, kill := context.WithCancel(t.Context())
				time.AfterFunc(5500*time.Millisecond, kill)
				b.Run(ctx)
				b.Close()
				done := 50 - b.Summary().Unasked
				e.asked()

				other := replica()
				got, sum := does(t, t.Context(), spec(e, other, numbers(50)))
				if n := len(e.asked()); done == 0 || n != 50-done || sum.Reused != done || sum.Answered != 50 {
					t.Errorf("%d were asked again, where %d had an answer: %+v", n, done, sum)
				}
				for i, output := range got {
					if output != fmt.Sprintf("re: say n%d", i) {
						t.Errorf("input %d has %q", i, output)
					}
				}
				shared.gone = true // what was taken over is kept here
				if _, sum = does(t, t.Context(), spec(e, other, numbers(50))); len(e.asked()) != 0 || sum.Reused != 50 {
					t.Errorf("without the others: %+v", sum)
				}
				shared.gone = false

				e.digests = "another"
				if _, sum = does(t, t.Context(), spec(e, replica(), numbers(50))); len(e.asked()) != 50 {
					t.Errorf("with another model: %+v", sum)
				}
			})
		})
	}
}

func TestBatchThatIsAskedAfreshTakesNoAnswersOfOtherReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, shared := new(engine), new(store)
		replica := func() *batch.Journals { return batch.NewJournals(batch.JournalOptions{Shared: shared}) }
		does(t, t.Context(), spec(e, replica(), numbers(5)))
		e.asked()
		afresh := spec(e, replica(), numbers(5))
		afresh.Afresh = true
		b, err := batch.New(t.Context(), afresh)
		if err != nil {
			t.Fatal(err)
		}
		b.Close() // before anything is asked
		if len(shared.rows) != 0 {
			t.Errorf("%d answers are left, though all are to be asked for anew", len(shared.rows))
		}
		if _, sum := does(t, t.Context(), spec(e, replica(), numbers(5))); len(e.asked()) != 5 {
			t.Errorf("afterwards: %+v", sum)
		}
	})
}
