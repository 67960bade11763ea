package tools

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"ollama-mcp/internal/backend"
)

// manner is how a question is put to a host. From mayCut on, what is zero is as the
// caller said, and what is not may help where that got no answer, or one of no use.
type manner struct {
	model     string
	options   options           // those of the caller as far as the pool allows
	keepAlive *backend.Duration // nil leaves it to the host
	context   int               // that the host is believed to have chosen for the model, in tokens; 0 if it has not
	mayCut    bool              // the host may cut the prompt
	noThink   bool              // the model is not to think first
	predict   int               // tokens that it may spend
	faulty    string            // an answer that did not fit the format, to be done again
	fault     string            // what is wrong with it
}

// mend asks a host once more where its answer is of no use to the caller, and
// asking in another manner may get a better one. If that fails, the answer stands.
func (d Deps) mend(ctx context.Context, q question, t *try, got *outcome) {
	again, why := q.remedy(got.answer)
	if why == "" {
		return
	}
	again.model, again.options, again.keepAlive = t.m.model, t.m.options, t.m.keepAlive
	t.progress.Working("asking again on " + t.host.Name())
	answer, cut, err := d.askWhole(ctx, q, work{t.host, t.rung, again}, t.progress.Answering())
	if err != nil {
		return
	}
	got.answer, got.cut, got.mended = answer, cut, why
}

// remedy is the manner in which to ask again, and why; nothing if the answer may
// be used, or nothing can be done about it.
func (q question) remedy(a *backend.Answer) (m manner, why string) {
	predict, _ := q.args.Options["num_predict"].(float64)
	onlyThought := a.DoneReason == "length" && isEmpty(a) && a.Thinking != ""
	switch {
	case onlyThought && q.args.Think == nil:
		return manner{noThink: true}, fmt.Sprintf("The model spent all its %d tokens on thinking, so it was asked again and told not to think.", a.Tokens)
	case onlyThought && predict > 0:
		more := max(4*int(predict), leastThought)
		return manner{predict: more}, fmt.Sprintf("The model spent all its %d tokens on thinking, so it was asked again with num_predict %d.", a.Tokens, more)
	case q.wanted == nil || a.DoneReason == "length" || len(a.ToolCalls) > 0:
		return m, ""
	}
	if _, err := parseAs(q.wanted, a.Text); err != nil {
		return manner{faulty: a.Text, fault: err.Error()},
			fmt.Sprintf("The first answer did not fit the format (%v), so the model was told and asked again.", err)
	}
	return m, ""
}

// leastThought is how many tokens a model should have that thinks before it answers.
const leastThought = 1024

func isEmpty(a *backend.Answer) bool { return strings.TrimSpace(a.Text) == "" && len(a.ToolCalls) == 0 }

// sent are the options to send.
func (m manner) sent() map[string]any {
	if m.predict == 0 {
		return m.options
	}
	sent := maps.Clone(m.options)
	sent["num_predict"] = m.predict
	return sent
}

// think is whether the model is to think, which the caller wants so.
func (m manner) think(wanted *backend.ThinkValue) *backend.ThinkValue {
	if m.noThink {
		return &backend.ThinkValue{Value: false}
	}
	return wanted
}

// complaint asks for a faulty answer to be done again.
func (m manner) complaint() string {
	return fmt.Sprintf("That does not fit the JSON schema: %s. Answer again, with JSON that fits and nothing else.", m.fault)
}
