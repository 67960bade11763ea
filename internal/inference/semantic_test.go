package inference_test

import (
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/semantic"
)

// comparing makes calls share what is cached, also for paraphrases.
func (c *client) comparing(o inference.SemanticOptions) *backendtest.Host {
	c.t.Helper()
	o.Model, o.Threshold = "words", 0.8
	c.opts.Semantic = &o
	return c.use(backendtest.New("gpu-1").Answer("an image that runs").Install(backendtest.Model{Name: "words", Dimensions: 256}))
}

func ask(prompt string) string { return `{"model":"tiny","prompt":"` + prompt + `"}` }

const (
	first   = "Please explain what a docker container is and what it is good for"
	similar = "explain what a docker container is and what it is good for"
)

// answered is how many calls of the model, not of the one that embeds, reached the host.
func answered(host *backendtest.Host) (n int) {
	for _, call := range host.Calls() {
		if call.Embed == nil {
			n++
		}
	}
	return n
}

func TestParaphraseIsASemanticHit(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.comparing(inference.SemanticOptions{})
		c.succeeds("generate", ask(first))
		time.Sleep(30 * time.Second)
		a := c.succeeds("generate", ask(similar))
		if answered(host) != 1 || a.text != "an image that runs" {
			t.Fatalf("%d calls: %+v", answered(host), a)
		}
		if s := a.served; s.Source != inference.CachedSimilar || s.Age != 30 || s.Similarity < 0.8 {
			t.Errorf("served: %v", s)
		}
		if !strings.Contains(a.notes, "cached answer, 30 s old, to a similar question") || !strings.Contains(a.notes, first) {
			t.Errorf("the reader is not told: %+v", a)
		}
		s := c.status().Semantic
		if s.Hits != 1 || s.Entries != 1 || s.Refused["none"] != 1 {
			t.Errorf("status: %+v", s)
		}
	})
}

func TestLookUpsOfQuestionVectorsAreCountedSeparately(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.comparing(inference.SemanticOptions{})
		c.succeeds("generate", ask(first))
		for range 2 {
			c.succeeds("generate", ask(similar))
		}
		for _, call := range host.Calls() {
			if call.Embed != nil && (call.Embed.Truncate == nil || *call.Embed.Truncate) {
				t.Errorf("a question may be cut before it is compared: %+v", call.Embed)
			}
		}
		s := c.status()
		if s.Cache.Misses != 3 || s.Cache.Hits != 2 {
			t.Errorf("of answers: %v hits and %v misses, want 2 of the question before, and 3 of their own", s.Cache.Hits, s.Cache.Misses)
		}
		if s := s.Semantic; s.EmbeddingRequests != 2 || s.VectorsCached != 1 {
			t.Errorf("of vectors: %v", s)
		}
	})
}

func TestSimilarRequestThatDiffersElsewhereIsASemanticMiss(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*client)
		args   string
	}{
		"in a number":             {nil, ask(strings.Replace(first, "a docker container is", "7 docker containers are", 1))},
		"in the system prompt":    {nil, `{"model":"tiny","prompt":"` + similar + `","system":"be brief"}`},
		"in an option":            {nil, `{"model":"tiny","prompt":"` + similar + `","options":{"temperature":0}}`},
		"in the tool":             {nil, `{"model":"tiny","messages":[{"role":"user","content":"` + similar + `"}]}`},
		"by the caller's wish":    {nil, `{"model":"tiny","prompt":"` + similar + `","min_similarity":1}`},
		"as it is asked anew":     {nil, `{"model":"tiny","prompt":"` + similar + `","cache":"refresh"}`},
		"in its tenant":           {func(c *client) { c.who.Tenant = "b" }, ask(similar)},
		"as its key wants it":     {func(c *client) { c.who.ExactOnly = true }, ask(similar)},
		"as its model is set":     {func(c *client) { c.models["tiny:latest"] = inference.ForModel{Semantic: new(0.0)} }, ask(similar)},
		"as all has been cleared": {func(c *client) { c.forget("") }, ask(similar)},
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			c.models = map[string]inference.ForModel{}
			c.opts.Settings = func() *inference.Settings { return &inference.Settings{Models: c.models} }
			host := c.comparing(inference.SemanticOptions{})
			c.succeeds("generate", ask(first))
			if tc.change != nil {
				tc.change(c)
			}
			tool := "generate"
			if strings.Contains(tc.args, "messages") {
				tool = "chat"
			}
			if c.succeeds(tool, tc.args); answered(host) != 2 {
				t.Errorf("%s: it was not asked", name)
			}
		})
	}
}

func TestMinSimilarityOneIsAMissEvenForEqualVectors(t *testing.T) {
	for args, calls := range map[string]int{`}`: 1, `,"min_similarity":1}`: 2} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.comparing(inference.SemanticOptions{})
			c.succeeds("generate", ask("what is the capital of France ?"))
			c.succeeds("generate", `{"model":"tiny","prompt":"what  is the capital of France ?"`+args)
			if n := answered(host); n != calls {
				t.Errorf("%s: %d calls, want %d", args, n, calls)
			}
		})
	}
}

func TestSemanticThresholdIsPerModelAndCallersMayOnlyRaiseIt(t *testing.T) {
	const impossible = 0.99 // for these two
	for name, tc := range map[string]struct {
		settings map[string]inference.ForModel
		asked    string
		served   bool
	}{
		"as the option has it":                {nil, "", true},
		"as set for the embedding model":      {map[string]inference.ForModel{"words:latest": {Semantic: new(impossible)}}, "", false},
		"as set for the model that is asked":  {map[string]inference.ForModel{"words:latest": {Semantic: new(impossible)}, "tiny:latest": {Semantic: new(0.8)}}, "", true},
		"off for the embedding model":         {map[string]inference.ForModel{"words:latest": {Semantic: new(0.0)}}, "", false},
		"more, as the caller asks for":        {nil, `,"min_similarity":0.99`, false},
		"less, as the caller may not ask for": {map[string]inference.ForModel{"tiny:latest": {Semantic: new(impossible)}}, `,"min_similarity":0.6`, false},
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			c.opts.Settings = func() *inference.Settings { return &inference.Settings{Models: tc.settings} }
			host := c.comparing(inference.SemanticOptions{})
			c.succeeds("generate", ask(first))
			c.succeeds("generate", `{"model":"tiny","prompt":"`+similar+`"`+tc.asked+`}`)
			if served := answered(host) == 1; served != tc.served {
				t.Errorf("%s: served %v, want %v", name, served, tc.served)
			}
		})
	}
}

func TestRequestThatDependsOnMoreThanItsLastMessageIsNotCompared(t *testing.T) {
	const words = `{"role":"user","content":"` + similar + `"}`
	for reason, args := range map[semantic.Reason]string{
		"messages": `"messages":[` + strings.Repeat(words+",", 3) + words + `]`,
		"images":   `"messages":[{"role":"user","content":"` + similar + `","images":["iVBORw0KGgo="]}]`,
		"tools":    `"messages":[` + words + `],"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]`,
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.comparing(inference.SemanticOptions{})
			host.Install(backendtest.Model{Name: "eyes", Capabilities: []string{"completion", "vision", "tools"}})
			c.succeeds("chat", `{"model":"eyes",`+args+`}`)
			s := c.status().Semantic
			if s.Entries != 0 || s.Refused[reason] != 1 {
				t.Errorf("%s: status: %+v", reason, s)
			}
		})
	}
}

func TestShadowModeCountsHitsAndServesNone(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.comparing(inference.SemanticOptions{Shadow: true})
		c.succeeds("generate", ask(first))
		if a := c.succeeds("generate", ask(similar)); answered(host) != 2 || a.served.Source != "local" {
			t.Errorf("%d calls: %v", answered(host), a.served)
		}
		s := c.status().Semantic
		if s.Shadow != 1 || s.Hits != 0 {
			t.Errorf("status: %+v", s)
		}
	})
}

func TestMissingOrSlowEmbeddingModelDelaysNoAnswerForLong(t *testing.T) {
	for name, fault := range map[string]backendtest.Fault{
		"missing": backendtest.Refuse(404, `model \"words\" not found`), "slow": backendtest.Hang,
	} {
		cacheStory(t, func(t *testing.T, c *client) {
			host := c.comparing(inference.SemanticOptions{})
			host.FailWhen(func(call backendtest.Call) backendtest.Fault {
				if call.Embed != nil {
					return fault
				}
				return nil
			})
			began := time.Now()
			if a := c.succeeds("generate", ask(first)); a.text != "an image that runs" || time.Since(began) > time.Second {
				t.Errorf("%s: after %v: %+v", name, time.Since(began), a)
			}
			s := c.status().Semantic
			if s.Refused["embedding"] != 1 {
				t.Errorf("%s: status: %+v", name, s)
			}
		})
	}
}

func TestExpiredAnswerIsNoSemanticHit(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.comparing(inference.SemanticOptions{})
		c.succeeds("generate", ask(first))
		time.Sleep(11 * time.Minute)
		if c.succeeds("generate", ask(similar)); answered(host) != 2 {
			t.Error("an answer was given whose time is over")
		}
		s := c.status().Semantic
		if s.Entries != 1 || s.Refused["gone"] != 1 {
			t.Errorf("status: %v, want the question that was asked last alone, and one whose answer was gone", s)
		}
	})
}
