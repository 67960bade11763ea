package budget_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/budget"
)

const (
	sharedFile  = "BUDGET_TEST_FILE" // names the file for a process that a test has started
	sharedLimit = 40
)

// TestMain makes the test binary be one of several programs that share a budget, when a test
// starts it as such.
func TestMain(m *testing.M) {
	if file := os.Getenv(sharedFile); file != "" {
		os.Exit(useUp(file))
	}
	os.Exit(m.Run())
}

// useUp asks a host with eight clients until each has been refused, and prints how many calls
// were made.
func useUp(file string) (status int) {
	budget.WaitForLocks(10 * time.Minute)
	l, err := budget.Open(file, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cloud := &host{name: "cloud"}
	b := l.Guard(cloud, budget.Limits{Calls: sharedLimit})
	var wrong atomic.Bool
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				_, err := b.Chat(context.Background(), nil, nil)
				if errors.Is(err, backend.Overload) {
					return
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					wrong.Store(true)
					return
				}
			}
		})
	}
	clients.Wait()
	fmt.Print(cloud.calls)
	if wrong.Load() {
		return 1
	}
	return 0
}

func TestBudgetHoldsOverProcesses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "budget.json")
	made := make(chan int, 4)
	for range cap(made) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), sharedFile+"="+file)
		cmd.Stderr = os.Stderr
		go func() {
			out, err := cmd.Output()
			n, bad := strconv.Atoi(strings.TrimSpace(string(out)))
			if err != nil || bad != nil {
				t.Errorf("a process printed %q, %v", out, err)
			}
			made <- n
		}()
	}
	sum := 0
	for range cap(made) {
		sum += <-made
	}
	if sum != sharedLimit {
		t.Errorf("four processes made %d calls together, want %d", sum, sharedLimit)
	}
}

func TestClockThatIsSetBackDoesNotResetTheCounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "budget.json")
	later := time.Date(2031, 5, 1, 0, 0, 0, 0, time.UTC)
	if err := os.WriteFile(file, []byte(`{"cloud":{"day":"2031-05-01","calls":2,"tokens":0}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // where it is 2000
		b := ledger(t, file).Guard(&host{name: "cloud"}, budget.Limits{Calls: 3})
		if err := ask(t, b); err != nil {
			t.Errorf("the third call: %v", err)
		}
		err := ask(t, b)
		e, ok := errors.AsType[*backend.Error](err)
		if !ok || e.Class != backend.Overload || !time.Now().Add(e.RetryAfter).Equal(later.AddDate(0, 0, 1)) || !strings.Contains(e.Message, "2031-05-01") {
			t.Errorf("the fourth call: got %+v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // and then the clock is right again
		time.Sleep(time.Until(later.Add(time.Hour)))
		b := ledger(t, file).Guard(&host{name: "cloud"}, budget.Limits{Calls: 3})
		if err := ask(t, b); !errors.Is(err, backend.Overload) {
			t.Errorf("on the same day: got %v", err)
		}
		time.Sleep(24 * time.Hour)
		if err := ask(t, b); err != nil {
			t.Errorf("on the next day: %v", err)
		}
	})
}

func TestTokensThatCannotBeCountedAtOnceCountLater(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "budget.json")
	cloud := &breaking{host: host{name: "cloud", tokens: 60}, file: file}
	b := ledger(t, file).Guard(cloud, budget.Limits{Tokens: 100})
	for range 2 {
		if err := ask(t, b); err != nil {
			t.Fatal(err)
		}
		cloud.mend()
	}
	if err := ask(t, b); !errors.Is(err, backend.Overload) {
		t.Errorf("after 120 of 100 tokens: got %v", err)
	}
}

// breaking is a host during whose answers the file of counts cannot be read.
type breaking struct {
	host
	file string
	was  []byte
}

func (b *breaking) Chat(ctx context.Context, req *backend.ChatRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	b.was, _ = os.ReadFile(b.file)
	_ = os.WriteFile(b.file, []byte("{"), 0o600)
	return b.host.Chat(ctx, req, onPiece)
}

func (b *breaking) mend() { _ = os.WriteFile(b.file, b.was, 0o600) }

func TestCallDoesNotWaitForTheCountersBeyondItsTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "budget.json")
	b := ledger(t, file).Guard(&host{name: "cloud"}, budget.Limits{Calls: 3})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := b.Chat(ctx, nil, nil); !errors.Is(err, backend.Caller) {
		t.Errorf("a call whose caller has left: got %v", err)
	}
}
