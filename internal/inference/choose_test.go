package inference_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// place is the letter that stands for a label in a question; "" if there is none.
func place(c backendtest.Call, label string) string {
	for line := range strings.Lines(c.Chat.Messages[1].Content) {
		if rest, ok := strings.CutSuffix(strings.TrimSpace(line), ") "+label); ok {
			return rest
		}
	}
	return ""
}

// letters is an answer whose first token is the most probable of some letters, and that has a
// rest for a token that is none.
func letters(probabilities map[string]float64) backendtest.Reply {
	token := backend.Logprob{}
	token.Logprob = math.Inf(-1)
	rest := 1.0
	for text, p := range probabilities {
		one := backend.TokenLogprob{Token: text, Logprob: math.Log(p)}
		token.TopLogprobs = append(token.TopLogprobs, one)
		if one.Logprob > token.Logprob {
			token.TokenLogprob = one
		}
		rest -= p
	}
	token.TopLogprobs = append(token.TopLogprobs, backend.TokenLogprob{Token: "Sure", Logprob: math.Log(max(rest, 1e-9))})
	return backendtest.Reply{Text: token.Token, Logprobs: []backend.Logprob{token}}
}

// finds is a model that gives a label a probability, and the rest to the first letter, as models
// like to do.
func finds(label string, p float64) func(backendtest.Call) backendtest.Reply {
	return func(c backendtest.Call) backendtest.Reply {
		of := map[string]float64{"A": 1 - p}
		of[place(c, label)] += p
		return letters(of)
	}
}

func (c *client) choose(model, text string, labels ...string) (*inference.Choice, error) {
	c.t.Helper()
	return c.engine.Choose(c.t.Context(), inference.ChooseRequest{
		Common: inference.Common{Model: model, Caller: c.who}, Text: text, Labels: labels,
	})
}

func TestLabelIsChosenByItsProbabilityWhereverItStands(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").AnswerWith(finds("bill", 0.6)))
		for _, labels := range [][]string{{"billing", "bill", "bills"}, {"bill", "billing", "bills"}, {"bills", "billing", "bill"}} {
			got, err := c.choose("tiny", "I paid it.", labels...)
			if err != nil {
				t.Fatal(err)
			}
			if labels[got.Label] != "bill" || got.Confidence < 0.6 || got.Confidence > 0.81 {
				t.Errorf("%q: got %+v", labels, got)
			}
			sum := 0.0
			for _, p := range got.Probabilities {
				sum += p
			}
			if math.Abs(sum-1) > 1e-6 || len(got.Probabilities) != 3 || got.Served.Host != "gpu-1" || len(got.Notes) != 0 {
				t.Errorf("%q: got %+v", labels, got)
			}
		}
		call := host.Calls()[0]
		if call.Chat.TopLogprobs != 20 || !call.Chat.Logprobs || call.Chat.Options["temperature"] != 0.0 || call.Chat.Think == nil || call.Chat.Think.Bool() {
			t.Errorf("the host was asked %+v", call.Chat)
		}
	})
}

// A model that knows nothing prefers a place, and must not look sure of it.
func TestPreferenceForAPlaceIsNoConfidence(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			return letters(map[string]float64{"A": 0.95, "B": 0.05})
		}))
		got, err := c.choose("tiny", "?", "yes", "no")
		if err != nil || got.Confidence > 0.51 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestAnyNumberOfLabelsIsChosenFrom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, inference.MostLabels).Draw(rt, "labels")
		labels := make([]string, n)
		for i := range labels {
			labels[i] = strings.Repeat("x", i+1)
		}
		want := rapid.IntRange(0, n-1).Draw(rt, "the best")
		p := rapid.Float64Range(0.55, 0.99).Draw(rt, "its probability")
		blank := rapid.SampledFrom([]string{"%s", " %s", "(%s)", "%s.", "**%s"}).Draw(rt, "form")
		storyWith(t, &client{}, func(t *testing.T, c *client) {
			c.use(backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
				return letters(map[string]float64{fmt.Sprintf(blank, place(call, labels[want])): p})
			}))
			got, err := c.choose("tiny", "?", labels...)
			if err != nil || got.Label != want || math.Abs(got.Confidence-p) > 1e-6 {
				t.Errorf("got %+v, %v, want label %d with %f", got, err, want, p)
			}
		})
	})
}

func TestHostWithoutProbabilitiesStillChooses(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: " " + place(call, "no") + ")"}
		}))
		if got, err := c.choose("tiny", "?", "yes", "no"); err != nil || got.Label != 1 || got.Confidence != -1 || got.Probabilities != nil {
			t.Errorf("got %+v, %v", got, err)
		}
		c.use(backendtest.New("gpu-1").Answer("Well, it depends."))
		_, err := c.choose("tiny", "?", "yes", "no")
		if known, ok := errors.AsType[*fault.Error](err); !ok || known.Code != fault.Upstream || !strings.Contains(known.Error(), "no label") {
			t.Errorf("got %v", err)
		}
	})
}

func TestBadLabelsAreRefused(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		hundred := make([]string, 100)
		for i := range hundred {
			hundred[i] = fmt.Sprint("label ", i)
		}
		for want, labels := range map[string][]string{
			"needs two labels or more": {}, "two labels": {"one"}, "between groups of labels first": hundred,
			"labels[1] is empty": {"a", " "}, "labels[2] is the same as labels[0]": {"Yes", "no", "yes "},
		} {
			_, err := c.choose("tiny", "?", labels...)
			if known, ok := errors.AsType[*fault.Error](err); !ok || known.Code != fault.InvalidArgument || !strings.Contains(known.Error(), want) {
				t.Errorf("%d labels: got %v, want %s", len(labels), err, want)
			}
		}
		if _, err := c.choose("none", "?", "yes", "no"); fault.Of(err).Code != fault.ModelNotFound {
			t.Errorf("got %v", err)
		}
		if n := len(host.Calls()); n > 2 { // for a model that it does not have
			t.Errorf("the host was asked %d times", n)
		}
	})
}

// triage makes an engine with the alias triage, which tries small and then big unless a choice is
// confident.
func (c *client) triage(small, big func(backendtest.Call) backendtest.Reply) *backendtest.Host {
	c.t.Helper()
	l, err := route.NewLadders(map[string][]string{"triage:latest": {"small:latest", "big:latest"}}, nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(&inference.Settings{Ladders: l, Models: map[string]inference.ForModel{"triage:latest": {Try: []string{"small:latest", "big:latest"}, UnlessConfident: 0.8}}})
	host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "small"}, backendtest.Model{Name: "big"}).AnswerWith(func(call backendtest.Call) backendtest.Reply {
		if strings.HasPrefix(call.Model, "small") {
			return small(call)
		}
		return big(call)
	})
	c.useAll(pool.Options{Slots: 2}, host)
	return host
}

func TestLadderGoesOnUnlessAChoiceIsConfident(t *testing.T) {
	silent := func(backendtest.Call) backendtest.Reply { return backendtest.Reply{Text: "A"} }
	for name, tc := range map[string]struct {
		small, big    func(backendtest.Call) backendtest.Reply
		model, chosen string
		unsure        int
	}{
		"sure":           {finds("yes", 0.95), finds("no", 0.99), "small", "yes", 0},
		"unsure":         {finds("yes", 0.5), finds("no", 0.99), "big", "no", 1},
		"both unsure":    {finds("yes", 0.5), finds("no", 0.5), "big", "no", 2},
		"not known":      {silent, finds("no", 0.99), "big", "no", 1},
		"small is wrong": {func(backendtest.Call) backendtest.Reply { return backendtest.Reply{Text: "?"} }, finds("no", 0.99), "big", "no", 0},
		"big is wrong":   {finds("yes", 0.5), func(backendtest.Call) backendtest.Reply { return backendtest.Reply{Text: "?"} }, "small", "yes", 1},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, c *client) {
				c.triage(tc.small, tc.big)
				got, err := c.choose("triage", "?", "maybe", "yes", "no")
				if err != nil {
					t.Fatal(err)
				}
				if label := []string{"maybe", "yes", "no"}[got.Label]; label != tc.chosen || got.Served.Model != tc.model || len(got.Unsure) != tc.unsure || got.Served.Requested != "triage" {
					t.Errorf("got %s of %+v, want %s of %s", label, got, tc.chosen, tc.model)
				}
			})
		})
	}
}

func TestChoiceIsCachedAndItsRungIsNotTakenForTheModel(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.triage(finds("yes", 0.5), finds("no", 0.99))
		for range 2 {
			if got, err := c.choose("triage", "?", "maybe", "yes", "no"); err != nil || got.Label != 2 || got.Confidence < 0.9 {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		if n := len(host.Calls()); n != 4 {
			t.Errorf("the host was asked %d times, want twice for each model", n)
		}
	})
}
