package tools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// promptTooLong is a prompt that does not fit the model's context, and what is known of
// the two.
type promptTooLong struct {
	err     *backend.Error // of class backend.TooLong, of the host or in its place
	prompt  int            // tokens of the prompt, about
	context int            // tokens of the context that the model is loaded with; 0 if not known
	wanted  int            // num_ctx that the caller asked for; 0 for none
	most    int            // tokens of the largest context that it can have; 0 if not known
	ofEmbed bool           // of which the end is cut where it may be, and not the beginning
}

func (e *promptTooLong) Error() string {
	if e.context == 0 {
		return e.err.Error()
	}
	return fmt.Sprintf("%s: %v: the prompt has about %d tokens, and the context %d", e.err.Host, e.err.Class, e.prompt, e.context)
}

func (e *promptTooLong) Unwrap() error { return e.err }

// Fault says what its caller could do.
func (e *promptTooLong) Fault() *fault.Error {
	part := "the oldest part"
	if e.ofEmbed {
		part = "its end"
	}
	return &fault.Error{
		Code: fault.ContextTooLong, Message: e.Error(),
		Hint: fmt.Sprintf("%s, or set truncate to true to have %s cut", e.remedy(), part),
	}
}

// remedy says what would make the prompt fit. A larger context is one only where the
// model can have it, and the prompt would fit.
func (e *promptTooLong) remedy() string {
	switch {
	case e.most == 0:
		return "send less, or raise options.num_ctx"
	case e.context >= e.most || e.prompt > e.most:
		return fmt.Sprintf("send less, since the model takes no more than %d tokens", e.most)
	case e.context > 0 && e.wanted > e.context: // and did not get it
		return fmt.Sprintf("send less, since this server has the model run with num_ctx %d for all callers", e.context)
	}
	return fmt.Sprintf("send less, or raise options.num_ctx, which may be up to %d", e.most)
}

// tooLong tells what is known of a prompt that a host has refused for its length.
func (d Deps) tooLong(ctx context.Context, w work, asked options, bytes int, err error) *promptTooLong {
	e := d.sizes(w, asked, bytes)
	if refused, ok := errors.AsType[*backend.Error](err); ok {
		e.err = refused
	}
	if w.rung.Provider != "" {
		return e
	}
	if about, err := d.detail(ctx, w.host, w.rung.Model); err == nil {
		e.most = about.context
	}
	if e.context == 0 {
		e.context = loadedContext(ctx, w.host, w.rung.Model)
	}
	if e.most > 0 { // Ollama gives no more, whatever is asked for
		e.context = min(e.context, e.most)
	}
	return e
}

// clamped says that the context which a host was asked for is more than the model can have,
// which it does not say itself; "" if it is not.
func (d Deps) clamped(ctx context.Context, q question, w work) string {
	asked := wholeNumber(q.args.Options["num_ctx"])
	if asked == 0 || w.rung.Provider != "" {
		return ""
	}
	about, err := d.detail(ctx, w.host, w.rung.Model)
	if err != nil || about.context == 0 || asked <= about.context {
		return ""
	}
	return fmt.Sprintf("num_ctx %d is more than the model can have: it was given %d.", asked, about.context)
}

// sizes are a prompt and the context as far as they are known without asking the host.
func (d Deps) sizes(w work, asked options, bytes int) *promptTooLong {
	return &promptTooLong{
		err:    &backend.Error{Host: w.host.Name(), Class: backend.TooLong},
		prompt: d.tokens.of(w.rung.String()).count(bytes), wanted: wholeNumber(asked["num_ctx"]),
		context: cmp.Or(w.m.context, wholeNumber(w.m.options["num_ctx"])),
	}
}

// loadedContext is the context that a host has a model loaded with; 0 if it cannot be told,
// as while the host loads another.
func loadedContext(ctx context.Context, host backend.Backend, model string) int {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	running, err := host.Running(ctx)
	if err != nil {
		return 0
	}
	for _, r := range running {
		if backend.CanonicalModel(r.Name) == model {
			return r.ContextLength
		}
	}
	return 0
}

const (
	// clearly is by how much an estimate has to exceed the context, so that it is believed.
	clearly = 1.5
	// large is a prompt, in bytes, that costs a host more than to be asked about its model.
	large = 64 << 10
)

// fits refuses a prompt that is far beyond the context that the model is loaded with, or
// can have, where the host would only be asked to refuse it, and perhaps load the model
// for that. A host that is too old to refuse would cut it.
func (d Deps) fits(ctx context.Context, q question, w work) error {
	if w.rung.Provider != "" || d.mayCut(q.args.modelArgs) {
		return nil
	}
	e, least := d.sizes(w, q.args.Options, q.text), float64(d.tokens.of(w.rung.String()).leastCount(q.text))
	isBeyond := func() bool { return e.context > 0 && least > clearly*float64(e.context) }
	if w.m.context > 0 && isBeyond() && loadedContext(ctx, w.host, w.rung.Model) != w.m.context {
		e.context = 0 // it is not what it was at the last check
	}
	if q.text >= large || isBeyond() {
		about, err := d.detail(ctx, w.host, w.rung.Model)
		if err == nil && about.context > 0 {
			e.most = about.context
			e.context = min(cmp.Or(e.context, e.most), e.most)
		}
	}
	if !isBeyond() {
		return nil
	}
	return e
}
