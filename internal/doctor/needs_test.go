package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/doctor"
	"ollama-mcp/internal/terminal"
)

// service is a provider that lists these models, or fails.
type service struct {
	backend.Backend
	name   string
	models []string
	err    error
}

func (s service) Name() string { return s.name }

func (s service) Models(context.Context) (all []backend.Model, err error) {
	for _, name := range s.models {
		all = append(all, backend.Model{Name: name})
	}
	return all, s.err
}

func failing(class backend.Class) service {
	return service{name: "bad", err: &backend.Error{Host: "bad", Class: class, Message: "it says no"}}
}

// findings are those of a run on one host with a text and an embedding model.
func findings(t *testing.T, o doctor.Options) (ok bool, out string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.Hosts == nil {
			o.Hosts = []backend.Backend{host().Install(llama, nomic).Open(t)}
		}
		var b strings.Builder
		o.Out = &b
		ok = doctor.Run(t.Context(), o)
		out = b.String()
	})
	return ok, out
}

func TestModelsThatOnlyTheConfigurationNamesAreFound(t *testing.T) {
	providers := []backend.Backend{service{name: "openai", models: []string{"gpt-4o"}}, service{name: "silent"}, failing(backend.Transport)}
	for _, c := range []struct {
		name       string
		models     []string
		capability string
		want       string // "" for no finding
		lacking    bool
	}{
		{"installed, in another spelling", []string{"Llama3.2:latest"}, "", "", false},
		{"installed, with :local behind it", []string{"llama3.2:local"}, "", "", false},
		{"in Ollama's cloud", []string{"gpt-oss:120b-cloud"}, "", "", false},
		{"of a provider", []string{"openai/gpt-4o"}, "", "", false},
		{"of a provider that lists none", []string{"silent/x"}, "", "", false},
		{"with its capability", []string{"nomic-embed-text"}, "embedding", "", false},
		{"not installed", []string{"tiny-sayss"}, "", "warn  S: its model cannot be used: tiny-sayss (not installed); E\n      -> ollama pull tiny-sayss, or name", true},
		{"some of them", []string{"llama3.2", "x/y:1b"}, "", "warn  S: some of its models cannot be used: x/y:1b (not installed)\n", false},
		{"all of them", []string{"a", "openai/gpt-9"}, "", "none of its models can be used: a (not installed), openai/gpt-9 (the provider does not list it); E", true},
		{"of a provider that does not answer", []string{"bad/x"}, "", "bad/x (its provider does not answer)", true},
		{"without the capability", []string{"llama3.2"}, "embedding", "llama3.2 (without the capability embedding)", true},
	} {
		need := doctor.Need{Setting: "S", Models: c.models, Capability: c.capability, Level: doctor.Warn, Effect: "E"}
		_, out := findings(t, doctor.Options{Providers: providers, Needs: []doctor.Need{need}})
		if got := strings.Contains(out, "S: "); got != (c.want != "") || !strings.Contains(out, c.want) {
			t.Errorf("%s: got\n%s\nwant %q", c.name, out, c.want)
		}
		need.Level = doctor.Fail
		_, out = findings(t, doctor.Options{Needs: []doctor.Need{need}, Providers: providers[:2]})
		if c.lacking && c.models[0] != "bad/x" && !strings.HasPrefix(out, "fail  S: ") {
			t.Errorf("%s, needed: it does not begin with the failure:\n%s", c.name, out)
		}
	}
}

func TestNoModelIsCalledMissingWhenNoHostAnswers(t *testing.T) {
	need := doctor.Need{Setting: "S", Models: []string{"a"}, Level: doctor.Fail}
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		doctor.Run(t.Context(), doctor.Options{Hosts: []backend.Backend{host().Down().Open(t)}, Needs: []doctor.Need{need}, Out: &out})
		if strings.Contains(out.String(), "S: ") {
			t.Errorf("got\n%s", out.String())
		}
	})
}

func TestProvidersAreExamined(t *testing.T) {
	for _, c := range []struct {
		provider service
		ok       bool
		want     string
	}{
		{service{name: "fine", models: []string{"a", "b"}}, true, "ok    provider fine: reachable, its key is accepted, 2 models\n"},
		{failing(backend.Unauthorized), false, "fail  provider bad: unauthorized: it says no\n      -> set its key_env or key_file"},
		{failing(backend.Transport), false, "check its url, and that this machine may connect"},
		{failing(backend.Server), false, "ends in /v1"},
		{failing(backend.Overload), true, "warn  provider bad: overloaded: it says no"},
		{service{name: "bad", err: errors.New("strange")}, false, "fail  provider bad: strange"},
	} {
		ok, out := findings(t, doctor.Options{Providers: []backend.Backend{c.provider}})
		if ok != c.ok || !strings.Contains(out, c.want) {
			t.Errorf("%s: ok %v\n%s\nwant %q", c.provider.name, ok, out, c.want)
		}
	}
}

func TestWhatHoldsForSeveralIsSaidOnce(t *testing.T) {
	ok, out := false, ""
	synctest.Test(t, func(t *testing.T) {
		loaded := `"size": 1000, "context_length": 4096, "expires_at": "2292-01-01T00:00:00Z"`
		both := saying(host().Install(llama, nomic), "/api/ps", `{"models": [{"name": "llama3.2:latest", `+loaded+`}, {"name": "other:latest", `+loaded+`}]}`)
		hosts := []backend.Backend{both.Open(t), backendtest.New("gpu-2").Remove(backendtest.Tiny).Install(llama, nomic).Open(t)}
		var b strings.Builder
		ok = doctor.Run(t.Context(), doctor.Options{Hosts: hosts, Out: &b})
		out = b.String()
	})
	if strings.Count(out, "on the CPU") != 1 || strings.Count(out, "->") != 2 || !strings.Contains(out, "ok    gpu-1, gpu-2: 2 models installed\n") || !ok {
		t.Errorf("ok %v\n%s", ok, out)
	}
}

func TestHostsOfVersionsThatAnswerInOtherWaysAreNamed(t *testing.T) {
	for _, c := range []struct {
		one, two string
		warned   bool
	}{{"0.17.4", "0.33.0", true}, {"0.32.10", "0.34.0", false}, {"0.17.4", "0.20.0", false}, {"0.0.0", "0.33.0", false}} {
		out := ""
		synctest.Test(t, func(t *testing.T) {
			var b strings.Builder
			doctor.Run(t.Context(), doctor.Options{Out: &b, Hosts: []backend.Backend{
				backendtest.New("one").Version(c.one).Open(t), backendtest.New("two").Version(c.two).Open(t),
			}})
			out = b.String()
		})
		if got := strings.Contains(out, "warn  one: Ollama is older than 0.32.10"); got != c.warned {
			t.Errorf("%s and %s: warned %v\n%s", c.one, c.two, got, out)
		}
	}
}

func TestReportBeginsWithTheWorstInTextAndJSON(t *testing.T) {
	o := doctor.Options{Findings: []doctor.Finding{
		doctor.Fine("a", "good"), doctor.Warned("b", "so so", "do <this>"), doctor.Failed("c", "bad", "do that"),
	}}
	ok, out := findings(t, o)
	if ok || !strings.HasPrefix(out, "fail  c: bad\n      -> do that\nwarn  b: so so\n      -> do <this>\nok    a: good\n") {
		t.Errorf("ok %v\n%s", ok, out)
	}
	o.JSON = true
	ok, out = findings(t, o)
	var got struct {
		Verdict            string
		Problems, Warnings int
		Findings           []doctor.Finding
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || ok || got.Verdict != "fail" || got.Problems != 1 || got.Warnings != 1 ||
		len(got.Findings) < 3 || got.Findings[0].Subject != "c" || got.Findings[1].Next != "do <this>" {
		t.Errorf("ok %v, %v, %+v\n%s", ok, err, got, out)
	}
}

func TestLevelsAreColouredOnlyInThatStyle(t *testing.T) {
	o := doctor.Options{Findings: []doctor.Finding{doctor.Failed("c", "\x1b[2Jbad", "x")}}
	if _, out := findings(t, o); strings.Contains(out, "\x1b") {
		t.Errorf("plain, with an escape sequence: %q", out)
	}
	o.Style = terminal.Style(true)
	if _, out := findings(t, o); !strings.HasPrefix(out, "\x1b[31mfail\x1b[0m  c: [2Jbad") {
		t.Errorf("coloured: %q", out)
	}
}
