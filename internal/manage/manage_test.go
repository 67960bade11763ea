package manage_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/manage"
)

// managing makes a manager of hosts.
func managing(t *testing.T, o manage.Options, hosts ...*backendtest.Host) *manage.Manager {
	t.Helper()
	all := make([]backend.Backend, len(hosts))
	for i, host := range hosts {
		all[i] = host.Open(t)
	}
	o.Hosts = func() []backend.Backend { return all }
	return manage.New(o)
}

// slowly is a pull that takes an hour.
func slowly(host *backendtest.Host) *backendtest.Host {
	var steps []backendtest.PullStep
	for done := range int64(60) {
		steps = append(steps, backendtest.PullStep{After: time.Minute, Step: backend.Step{Digest: "sha256:a", Total: 60, Completed: done + 1}})
	}
	return host.Pulls(steps...)
}

func TestPullsOfOneModelAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := slowly(backendtest.New("gpu-1"))
		m := managing(t, manage.Options{}, host)
		first, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := m.Pull(first, "new", "", new(manage.Progress)); !errors.Is(err, context.Canceled) {
				t.Errorf("the first, who left: %v", err)
			}
		})
		time.Sleep(10*time.Minute + time.Second)
		p := new(manage.Progress)
		all.Go(func() {
			outcomes, err := m.Pull(t.Context(), "NEW:latest", "", p)
			if err != nil || len(outcomes) != 1 || !strings.Contains(outcomes[0].Note, "already") {
				t.Errorf("the second: %+v, error %v", outcomes, err)
			}
		})
		synctest.Wait()
		if line, done, of, _ := p.Now(); done != 10 || of != 60 {
			t.Errorf("who joins is told %q, %d of %d, want 10 of 60", line, done, of)
		}
		stop() // the pull goes on for the second
		all.Wait()
		if host.Pulled() != 1 || !host.Has("new") {
			t.Errorf("pulled %d times", host.Pulled())
		}
	})
}

func TestPullEndsWhenNobodyWaitsAndTheNextBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := slowly(backendtest.New("gpu-1"))
		m := managing(t, manage.Options{}, host)
		for range 2 {
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
			if _, err := m.Pull(ctx, "new", "", new(manage.Progress)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			stop()
		}
		synctest.Wait()
		if host.Has("new") || host.Pulled() != 2 {
			t.Errorf("pulled %d times, and it is installed: %v", host.Pulled(), host.Has("new"))
		}
		if _, err := m.Pull(t.Context(), "new", "", new(manage.Progress)); err != nil || !host.Has("new") {
			t.Errorf("the third, who waits: %v", err)
		}
	})
}

func TestHostThatSaysNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1").Pulls(backendtest.PullStep{After: 24 * time.Hour})
		m := managing(t, manage.Options{}, host)
		began := time.Now()
		_, err := m.Pull(t.Context(), "new", "", new(manage.Progress))
		if e := fault.Of(err); e.Code != fault.Upstream || !e.Retryable || !strings.Contains(e.Message, "nothing was heard") || !strings.Contains(e.Hint, "try again") || time.Since(began) != 15*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// A laptop whose lid is shut takes connections, and answers none.
func TestHostThatIsNotWellIsNotWaitedForAsLongAsOthers(t *testing.T) {
	for ill, want := range map[string]time.Duration{"laptop": 2 * time.Second, "": 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			m := managing(t, manage.Options{Ill: func() []string { return []string{ill} }},
				backendtest.New("gpu-1"), backendtest.New("laptop").Break(backendtest.Hang))
			for name, do := range map[string]func() error{
				"show":    func() error { _, err := m.Show(t.Context(), "tiny", ""); return err },
				"running": func() error { _, err := m.Running(t.Context(), ""); return err },
				"unload":  func() error { _, err := m.Unload(t.Context(), "tiny", ""); return err },
				"version": func() error { _, err := m.OldestVersion(t.Context()); return err },
			} {
				began := time.Now()
				if err := do(); err != nil || time.Since(began).Round(time.Second) != want {
					t.Errorf("%s, with %q ill: got %v after %v, want the other host's answer after %v", name, ill, err, time.Since(began), want)
				}
			}
		})
	}
}

func TestFailedPullSaysWhatToDo(t *testing.T) {
	for said, want := range map[string]struct {
		code fault.Code
		hint string
	}{
		"pull model manifest: file does not exist":                                                {fault.ModelNotFound, "no such model"},
		`pull model manifest: Get "http://127.0.0.1:1/v2/x": dial tcp: connection refused`:        {fault.Upstream, "cannot reach the registry"},
		"pull model manifest: Get \"https://x/v2/\": dial tcp: lookup x: no such host":            {fault.Upstream, "cannot find the registry"},
		"digest mismatch, file must be downloaded again: want sha256:a, got sha256:b":             {fault.Upstream, "other bytes"},
		"write /models/blobs/sha256-a-partial: no space left on device":                           {fault.Upstream, "free some space"},
		"max retries exceeded: unexpected EOF":                                                    {fault.Upstream, "keeps failing"},
		"pull model manifest: 412: The model you are pulling requires a newer version of Ollama.": {fault.Upstream, "update Ollama"},
		"something new": {fault.Upstream, "Ollama's own log"},
	} {
		synctest.Test(t, func(t *testing.T) {
			host := backendtest.New("gpu-1").Pulls(backendtest.PullStep{Error: said})
			_, err := managing(t, manage.Options{}, host).Pull(t.Context(), "new", "", new(manage.Progress))
			if e := fault.Of(err); e.Code != want.code || !strings.Contains(e.Hint, want.hint) || host.Has("new") {
				t.Errorf("%s: got %v [%s], want %s and %s", said, e, e.Code, want.code, want.hint)
			}
		})
	}
}

// Ollama calls a pull a success also if it cannot read what it has.
func TestPullThatLeavesADamagedModelFailsAndRemovesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1").Pulls(backendtest.PullStep{Damages: true})
		m := managing(t, manage.Options{}, host)
		_, err := m.Pull(t.Context(), "new", "", new(manage.Progress))
		if err == nil || host.Has("new") {
			t.Fatalf("got %v, and the host has the model: %v", err, host.Has("new"))
		}
		if e := fault.Of(err); e.Code != fault.Upstream || !e.Retryable || !strings.Contains(e.Message, "damaged") || !strings.Contains(e.Hint, "pull it again") {
			t.Errorf("got %v [%s]", err, e.Code)
		}
		if _, err := m.Pull(t.Context(), "new", "", new(manage.Progress)); err == nil {
			t.Error("the second is as damaged, and was a success")
		}
		if _, err := managing(t, manage.Options{}, host.Pulls()).Pull(t.Context(), "new", "", new(manage.Progress)); err != nil || !host.Has("new") {
			t.Errorf("once nothing is damaged: %v", err)
		}
	})
}

func TestModelsArePulledFromAllowedRegistriesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1")
		open := managing(t, manage.Options{Registries: []string{"hf.co", "http://localhost:5000"}}, host)
		shut := managing(t, manage.Options{NoCloud: true}, host)
		pull := func(m *manage.Manager, name string) fault.Code {
			if _, err := m.Pull(t.Context(), name, "", new(manage.Progress)); err != nil {
				return fault.Of(err).Code
			}
			return ""
		}
		for name, want := range map[string]struct{ open, shut fault.Code }{
			"llama3.2":                     {"", ""},
			"someone/model:8b":             {"", ""},
			"registry.ollama.ai/library/x": {"", ""},
			"hf.co/someone/model:Q4":       {"", fault.Forbidden},
			"HF.CO/someone/model":          {"", fault.Forbidden},
			"localhost:5000/library/x":     {"", fault.Forbidden},
			"localhost:5001/library/x":     {fault.Forbidden, fault.Forbidden},
			"evil.hf.co/a/b":               {fault.Forbidden, fault.Forbidden},
			"http://localhost:5000/a/b":    {fault.InvalidArgument, fault.InvalidArgument},
			"https://hf.co/a/b":            {fault.InvalidArgument, fault.InvalidArgument},
			"gpt-oss:120b-cloud":           {"", fault.Forbidden},
			"../../etc/passwd":             {fault.InvalidArgument, fault.InvalidArgument},
			"a b":                          {fault.InvalidArgument, fault.InvalidArgument},
			"x\n":                          {fault.InvalidArgument, fault.InvalidArgument},
			"":                             {fault.InvalidArgument, fault.InvalidArgument},
			strings.Repeat("x", 5000):      {fault.InvalidArgument, fault.InvalidArgument},
		} {
			if got := pull(open, name); got != want.open {
				t.Errorf("%.40q with registries allowed: got %q, want %q", name, got, want.open)
			}
			if got := pull(shut, name); got != want.shut {
				t.Errorf("%.40q with none: got %q, want %q", name, got, want.shut)
			}
		}
	})
}

func TestFleetKnowsOfEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "old"})
		m := managing(t, manage.Options{Changed: func(_ context.Context, host string) { told = append(told, host) }}, host)
		for name, do := range map[string]func() error{
			"pull":   func() error { _, err := m.Pull(t.Context(), "a", "", new(manage.Progress)); return err },
			"copy":   func() error { _, err := m.Copy(t.Context(), "tiny", "b", "", false); return err },
			"load":   func() error { _, err := m.Load(t.Context(), "tiny", "", nil); return err },
			"unload": func() error { _, err := m.Unload(t.Context(), "tiny", ""); return err },
			"delete": func() error { _, err := m.Delete(t.Context(), "old", ""); return err },
			"create": func() error {
				_, err := m.Create(t.Context(), manage.Blueprint{Name: "c", From: "tiny"}, "", new(manage.Progress))
				return err
			},
		} {
			told = nil
			if err := do(); err != nil || !slices.Equal(told, []string{"gpu-1"}) {
				t.Errorf("%s: error %v, told %v", name, err, told)
			}
		}
	})
}

func TestModelIsLoadedWithTheOptionsOfItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "vectors", Capabilities: []string{"embedding"}})
		m := managing(t, manage.Options{Runner: func(string) map[string]any { return map[string]any{"num_ctx": 1234} }}, host)
		for _, model := range []string{"tiny", "vectors"} {
			if _, err := m.Load(t.Context(), model, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		calls := host.Calls()
		if calls[0].Path != "/api/generate" || calls[1].Path != "/api/embed" || calls[0].Options["num_ctx"] != 1234.0 || calls[1].Options["num_ctx"] != 1234.0 || host.Stats().Loads != 2 {
			t.Errorf("the host got %+v", calls)
		}
	})
}

func TestModelOfACloudIsNotLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "far", Remote: "https://ollama.com"}, backendtest.Model{Name: "near:120b-cloud"})
		m := managing(t, manage.Options{}, host)
		for _, model := range []string{"far", "near:120b-cloud"} {
			_, err := m.Load(t.Context(), model, "", nil)
			if f := fault.Of(err); err == nil || f.Code != fault.InvalidArgument || !strings.Contains(f.Message, "runs in Ollama's cloud") {
				t.Errorf("%s: got %v", model, err)
			}
		}
		if calls := host.Calls(); len(calls) != 0 {
			t.Errorf("the host got %+v", calls)
		}
	})
}

func TestMemoryIsEstimatedFromTheDescription(t *testing.T) {
	// Llama 3.1 8B: 32 layers, 8 heads of keys and values, 128 wide.
	got := manage.MemoryOf(4_900_000_000, map[string]any{
		"general.architecture": "llama", "llama.block_count": 32.0, "llama.attention.head_count": 32.0,
		"llama.attention.head_count_kv": 8.0, "llama.embedding_length": 4096.0,
	})
	if got.Weights != 4_900_000_000 || got.PerToken != 131072 {
		t.Errorf("got %+v, want 128 KiB a token", got)
	}
	if got := manage.MemoryOf(1, map[string]any{"general.architecture": "new"}); got.PerToken != 0 {
		t.Errorf("of an unknown architecture got %+v", got)
	}
}

func TestLicenceIsNamedAndNotQuoted(t *testing.T) {
	for text, want := range map[string]string{
		"                                 Apache License\n                           Version 2.0": "Apache License",
		"MIT License\n\nCopyright": "MIT License", "# LLAMA 3.2 COMMUNITY LICENSE AGREEMENT #\nMore": "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT",
		"": "", strings.Repeat("x", 500): strings.Repeat("x", 80) + "…",
	} {
		if got := manage.LicenceName(text); got != want {
			t.Errorf("%.30q: got %q, want %q", text, got, want)
		}
	}
}
