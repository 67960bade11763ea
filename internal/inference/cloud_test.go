package inference_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// forbidding are the ways to forbid that a request leaves: by the call, by the key, and for
// the whole server.
var forbidding = map[string]struct {
	args    string // added to those of the call
	who     caller.Caller
	noCloud bool
}{
	"by the call":   {args: `,"local_only":true`},
	"by the key":    {who: caller.Caller{ID: "ci", LocalOnly: true}},
	"by the server": {noCloud: true},
}

// inCloud are the ways in which a host shows that Ollama's cloud runs a model.
var inCloud = map[string]backendtest.Model{
	"listed and described": {Name: "mine", Remote: "https://ollama.com:443"},
	"listed":               {Name: "mine", Remote: "https://ollama.com:443", RemoteUndescribed: true},
	"described":            {Name: "mine", Remote: "https://ollama.com:443", RemoteUnlisted: true},
	"named by its tag":     {Name: "mine:cloud"},
	"named by a long tag":  {Name: "mine:120b-cloud"},
}

// listed tells a pool what a host has, as the fleet does.
func listed(t *testing.T, p *pool.Pool, host *backendtest.Host) {
	t.Helper()
	models, err := host.Open(t).Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	facts := pool.Facts{Up: true, Installed: backend.CanonicalNames(models)}
	for i, m := range models {
		if backend.IsListedInCloud(m) {
			facts.Cloud = append(facts.Cloud, facts.Installed[i])
		}
	}
	p.Know(host.Name(), facts)
}

func TestNothingLeavesAHostForOllamasCloudWhereThatIsForbidden(t *testing.T) {
	for how, model := range inCloud {
		for by, rule := range forbidding {
			for _, isListed := range []bool{true, false} { // or the host has not been polled yet
				t.Run(fmt.Sprintf("%s, forbidden %s, polled %v", how, by, isListed), func(t *testing.T) {
					story(t, func(t *testing.T, c *client) {
						c.opts.NoCloud = rule.noCloud
						l, err := route.NewLadders(map[string][]string{"pro:latest": {backend.CanonicalModel(model.Name), "other:cloud"}}, nil, nil)
						if err != nil {
							t.Fatal(err)
						}
						c.set(&inference.Settings{Ladders: l})
						host := backendtest.New("gpu-1").Install(model, backendtest.Model{Name: "other:cloud", Remote: "https://ollama.com"})
						p := c.pool(pool.Options{}, host)
						if isListed {
							listed(t, p, host)
						}
						c.useHosts(p)
						c = c.as(rule.who)
						c.fails("generate", `{"model":"`+model.Name+`","prompt":"secret"`+rule.args+`}`, "forbidden", "cloud")
						c.fails("generate", `{"model":"pro","prompt":"secret"`+rule.args+`}`, "forbidden", "cloud")
						c.fails("generate", `{"model":"`+model.Name+`","prompt":"secret","host":"gpu-1"`+rule.args+`}`, "forbidden")
						c.fails("chat", `{"model":"`+model.Name+`","messages":[{"role":"user","content":"secret"}]`+rule.args+`}`, "forbidden")
						c.fails("embed", `{"model":"`+model.Name+`","input":["secret","too"]`+rule.args+`}`, "forbidden")
						if a := c.succeeds("generate", `{"model":"tiny","prompt":"?","fallback_models":["`+model.Name+`"]`+rule.args+`}`); a.served.Source != inference.Local {
							t.Errorf("a model of the host's own: served by %s", a.served.Source)
						}
						failing(host, backendtest.Busy, "tiny")
						c.fails("generate", `{"model":"tiny","prompt":"??","fallback_models":["`+model.Name+`"]`+rule.args+`}`, "overloaded", "cloud")
						for _, call := range host.Calls() {
							if !strings.HasPrefix(call.Model, "tiny") {
								t.Errorf("%s was asked for %s", host.Name(), call.Model)
							}
						}
					})
				})
			}
		}
	}
}

func TestAnswerOfOllamasCloudSaysSoAndTeachesForNextTime(t *testing.T) {
	models := map[string]backendtest.Model{
		"named by its answers alone": {Name: "mine", Remote: "https://ollama.com:443", RemoteUnlisted: true, RemoteUndescribed: true},
	}
	for how, model := range inCloud {
		models[how] = model
	}
	for how, model := range models {
		for _, kind := range []string{"generate", "chat", "embed"} {
			if kind == "embed" && (how == "named by its answers alone" || how == "described") {
				continue // of vectors no host says where they come from, and nobody asks
			}
			t.Run(how+", "+kind, func(t *testing.T) {
				story(t, func(t *testing.T, c *client) {
					host := backendtest.New("gpu-1").Install(model)
					p := c.pool(pool.Options{}, host)
					listed(t, p, host)
					c.useHosts(p)
					args := map[string]string{
						"generate": `"prompt":"?"`, "chat": `"messages":[{"role":"user","content":"?"}]`, "embed": `"input":["?"]`,
					}[kind]
					if a := c.succeeds(kind, `{"model":"`+model.Name+`",`+args+`}`); a.served.Source != inference.Cloud || a.served.Host != "gpu-1" {
						t.Errorf("served: %+v", a.served)
					}
					n := len(host.Calls())
					c.fails(kind, `{"model":"`+model.Name+`",`+args+`,"local_only":true}`, "forbidden")
					if len(host.Calls()) != n {
						t.Error("it was asked again, though it may not be")
					}
					if s := c.status().Hosts.Hosts[0].Cloud; s == nil || strings.Join(s.Models, " ") == "" {
						if !backend.IsCloudName(model.Name) || s == nil {
							t.Errorf("status: %+v", s)
						}
					}
				})
			})
		}
	}
}

func TestRequestThatAHostHasPassedOnAgainstItsWordIsAnError(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("from afar").
			Install(backendtest.Model{Name: "mine", Remote: "https://ollama.com", RemoteUnlisted: true, RemoteUndescribed: true})
		p := c.pool(pool.Options{}, host)
		listed(t, p, host)
		c.useHosts(p)
		a := c.fails("generate", `{"model":"mine","prompt":"?","local_only":true}`, "forbidden", "passed the request on")
		if a.partial != "" {
			t.Errorf("got %q of an answer", a.partial)
		}
		c.fails("generate", `{"model":"mine","prompt":"?","local_only":true}`, "forbidden", "must not be sent")
		if n := len(host.Calls()); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestHostThatRunsTheModelItselfAnswersWhatMayNotLeave(t *testing.T) {
	for _, order := range [][]string{{"afar", "here"}, {"here", "afar"}} {
		for by, rule := range forbidding {
			for _, isListed := range []bool{true, false} {
				story(t, func(t *testing.T, c *client) {
					c.opts.NoCloud = rule.noCloud
					hosts := map[string]*backendtest.Host{
						"afar": backendtest.New("afar").Answer("from afar").Install(backendtest.Model{Name: "mine", Remote: "https://ollama.com"}),
						"here": backendtest.New("here").Answer("from here").Install(backendtest.Model{Name: "mine"}),
					}
					p := c.pool(pool.Options{Slots: 1, Queue: 10}, hosts[order[0]], hosts[order[1]])
					if isListed {
						listed(t, p, hosts["afar"])
						listed(t, p, hosts["here"])
					}
					c.useHosts(p)
					for range 4 {
						a := c.as(rule.who).succeeds("generate", `{"model":"mine","prompt":"secret"`+rule.args+`}`)
						if a.text != "from here" || a.served.Source != inference.Local {
							t.Errorf("%v, %s, listed %v: got %q of %s", order, by, isListed, a.text, a.served.Source)
						}
					}
					if n := len(hosts["afar"].Calls()); n != 0 {
						t.Errorf("%v, %s, listed %v: %d calls left", order, by, isListed, n)
					}
				})
			}
		}
	}
}

func TestGuardInOllamasCloudIsNotAskedAboutWhatMayNotLeave(t *testing.T) {
	for by, rule := range forbidding {
		story(t, func(t *testing.T, c *client) {
			c.opts.NoCloud = rule.noCloud
			c.filtering(&moderation.Guard{Model: "guard", Prompt: "may it pass?"})
			host := c.use(backendtest.New("gpu-1").Answer("secret").Install(backendtest.Model{Name: "guard", Remote: "https://ollama.com", RemoteUnlisted: true}))
			a := c.as(rule.who).fails("generate", `{"model":"tiny","prompt":"?"`+rule.args+`}`, "forbidden", "guard", "cloud")
			if a.err.Retryable {
				t.Errorf("forbidden %s: it is said to be worth another try", by)
			}
			if n := len(askedOf(host, "guard")); n != 0 {
				t.Errorf("forbidden %s: the guard was asked %d times", by, n)
			}
		})
	}
}

func TestQuestionIsNotEmbeddedInOllamasCloudWhereThatIsForbidden(t *testing.T) {
	for by, rule := range forbidding {
		cacheStory(t, func(t *testing.T, c *client) {
			c.opts.NoCloud = rule.noCloud
			c.opts.Semantic = &inference.SemanticOptions{Model: "words"}
			host := c.use(backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "words", Remote: "https://ollama.com", RemoteUnlisted: true}))
			c.as(rule.who).succeeds("generate", `{"model":"tiny","prompt":"`+first+`"`+rule.args+`}`)
			if n := len(askedOf(host, "words")); n != 0 {
				t.Errorf("forbidden %s: the question was sent to be embedded", by)
			}
		})
	}
}

func TestModelInOllamasCloudIsNotLoadedAfterATimeout(t *testing.T) {
	for how, model := range inCloud {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Install(model))
			failing(host, backendtest.Hang, "mine")
			c.fails("generate", `{"model":"`+model.Name+`","prompt":"secret","timeout_seconds":5}`, "timeout")
			time.Sleep(time.Minute)
			if n := len(host.Calls()); n != 1 {
				t.Errorf("%s: %d calls, want the one that timed out", how, n)
			}
		})
	}
}

func TestTroubleOfOllamasCloudIsNotTheHosts(t *testing.T) {
	for _, status := range []int{429, 502, 503} {
		story(t, func(t *testing.T, c *client) {
			host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "mine", Remote: "https://ollama.com"})
			p := c.pool(pool.Options{}, host)
			listed(t, p, host)
			c.useHosts(p)
			failing(host, backendtest.Refuse(status, "the cloud is in trouble"), "mine")
			for range 8 {
				c.call(t.Context(), "generate", `{"model":"mine","prompt":"?","cache":"off"}`)
			}
			s := c.status().Hosts.Hosts[0]
			if !s.Well || s.Breaker != "closed" || s.Latency != 0 {
				t.Errorf("after %d: the host is %+v", status, s)
			}
			if status == 502 && (s.Cloud == nil || len(s.Ejected) != 1 || s.Ejected[0].Model != "mine:latest" || s.Ejected[0].Breaker != "open") {
				t.Errorf("after %d: the cloud is %+v, and out are %+v", status, s.Cloud, s.Ejected)
			}
			began := time.Now()
			if a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`); a.served.Source != inference.Local || time.Since(began) > 0 {
				t.Errorf("after %d: a model of the host's own: %+v after %v", status, a.served, time.Since(began))
			}
		})
	}
}

func TestRefusalByOllamasCloudSpeaksOfTheHostsAccount(t *testing.T) {
	for _, status := range []int{401, 403} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "mine:cloud"}))
			failing(host, backendtest.Refuse(status, "unauthorized"), "mine")
			a := c.fails("generate", `{"model":"mine:cloud","prompt":"?"}`, "unauthorized", "ollama signin", "gpu-1")
			if strings.Contains(a.text, "OLLAMA_API_KEY") {
				t.Errorf("%d: got %s", status, a.text)
			}
			c.fails("embed", `{"model":"mine:cloud","input":["?"]}`, "unauthorized", "ollama signin")
			failing(host, backendtest.Refuse(status, "unauthorized"), "tiny")
			if a := c.fails("generate", `{"model":"tiny","prompt":"?"}`, "unauthorized"); !strings.Contains(a.text, "set OLLAMA_API_KEY to a key that this host accepts, or run `ollama signin`") {
				t.Errorf("%d: of a model that no host says is in the cloud: %s", status, a.text)
			}
		})
	}
}

func TestProviderOnThisMachineIsACloudForModelsThatAreCalledSo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		l, err := route.NewLadders(nil, nil, map[string]bool{"near": false})
		if err != nil {
			t.Fatal(err)
		}
		near := backendtest.New("near").Install(backendtest.Model{Name: "gpt:120b-cloud"}, backendtest.Model{Name: "gpt"})
		c.set(&inference.Settings{Ladders: l, Providers: map[string]inference.Lender{"near": c.pool(pool.Options{InMemory: true}, near)}})
		c.use(backendtest.New("gpu-1"))
		c.fails("generate", `{"model":"near/gpt:120b-cloud","prompt":"?","local_only":true}`, "forbidden", "local_only")
		if a := c.succeeds("generate", `{"model":"near/gpt","prompt":"?","local_only":true}`); a.served.Source != inference.Local {
			t.Errorf("served by %s", a.served.Source)
		}
		if a := c.succeeds("generate", `{"model":"near/gpt:120b-cloud","prompt":"?"}`); a.served.Source != inference.Cloud {
			t.Errorf("served by %s", a.served.Source)
		}
	})
}
