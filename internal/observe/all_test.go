package observe_test

import (
	"slices"
	"testing"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/observe"
)

// done is an observer of calls that are over, and notes the prompt of each.
type done struct{ prompts *[]string }

func (d done) Done(r inference.Record) {
	prompt := ""
	if r.Asked.Request != nil {
		prompt = r.Asked.Request.Prompt
	}
	*d.prompts = append(*d.prompts, prompt)
}

// events is an observer of events too.
type events struct {
	done
	told *int
}

func (events) Begin(*inference.CallInfo) inference.Wants { return inference.NoEvents }
func (e events) Event(inference.Event)                   { *e.told++ }

func TestObserversTogetherAreToldOfEventsOnlyIfOneOfThemIs(t *testing.T) {
	var prompts []string
	told := 0
	calls, both := done{&prompts}, events{done{&prompts}, &told}
	for name, tt := range map[string]struct {
		all     inference.Observer
		events  int // -1: it is no Watcher
		prompts []string
	}{
		"none":                     {observe.All(), -1, nil},
		"calls":                    {observe.All(calls, calls), -1, []string{"hi", "hi"}},
		"events":                   {observe.All(calls, both), 1, []string{"hi", "hi"}},
		"events twice":             {observe.All(both, observe.All(both)), 2, []string{"hi", "hi"}},
		"calls without texts":      {observe.WithoutTexts(calls), -1, []string{""}},
		"events without texts":     {observe.WithoutTexts(both), 1, []string{""}},
		"some of them with texts":  {observe.All(observe.WithoutTexts(observe.All(calls, both)), both), 2, []string{"", "", "hi"}},
		"others without any texts": {observe.All(observe.WithoutTexts(calls), calls), -1, []string{"", "hi"}},
	} {
		prompts, told = nil, 0
		tt.all.Done(inference.Record{Asked: inference.Asked{Request: &inference.Request{Prompt: "hi"}}})
		w, ok := tt.all.(inference.Watcher)
		if ok {
			w.Event(inference.Event{Kind: inference.Granted})
		}
		if ok != (tt.events >= 0) || told != max(0, tt.events) || !slices.Equal(prompts, tt.prompts) {
			t.Errorf("%s: a Watcher %t, told of %d events and of the prompts %q", name, ok, told, prompts)
		}
	}
}
