package inference

import (
	"context"

	"ollama-mcp/pool"
)

// Keyer returns a function that names requests which differ from one by their prompts: requests
// of one tenant that would get the same answer have the same name, whichever host answers, and
// all others have another. A model that is pulled anew is another model. Keyer fails if Do would
// refuse all of them without asking a host, with its error.
func (e *Engine) Keyer(ctx context.Context, like Request) (key func(Request) (string, error), err error) {
	if _, err := e.newTask(like, new(Call)); err != nil {
		return nil, err
	}
	settings := e.opts.Settings()
	digest, err := e.digest(ctx, settings, settings.spell(like.Model))
	if err != nil { // nobody is known to have the model, or asking for it says what is wrong
		digest = ""
	}
	return func(req Request) (string, error) {
		t := &task{Engine: e, Request: req, settings: settings, scope: req.Kind.String()}
		key, err := t.keyWith(digest, t.identity())
		return key.String(), err
	}, nil
}

// learnedSlots is how many slots a host has for a model at first, if their number is learned.
const learnedSlots = 2

// Slots is how many requests for a model its hosts work on at once: for an alias or a model of a
// provider, those of its first rung. It is 0 if none is well.
func (e *Engine) Slots(model string) (n int) {
	settings := e.opts.Settings()
	rungs, err := settings.ladders().Of(settings.spell(model))
	if err != nil {
		return 0
	}
	hosts, ok := settings.lender(e.opts.Hosts, rungs[0]).(interface{ Stats() pool.Stats })
	if !ok {
		return 0
	}
	for _, h := range hosts.Stats().Hosts {
		if h.Well {
			n += slotsOf(h, rungs[0].Model)
		}
	}
	return n
}

// slotsOf is how many requests for a model a host works on at once.
func slotsOf(h pool.HostStats, model string) int {
	if !h.Learned {
		return h.Slots
	}
	for _, m := range h.Models {
		if m.Model == model {
			return m.Slots
		}
	}
	return learnedSlots
}
