package observe

import "ollama-mcp/internal/inference"

// All returns an observer that tells several, in their order. It is a Watcher if one of them is.
func All(observers ...inference.Observer) inference.Observer {
	var watchers []inference.Watcher
	for _, o := range observers {
		if w, ok := o.(inference.Watcher); ok {
			watchers = append(watchers, w)
		}
	}
	if len(watchers) == 0 {
		return all(observers)
	}
	return watched{all(observers), watchers}
}

type all []inference.Observer

// Done implements inference.Observer.
func (a all) Done(r inference.Record) {
	for _, o := range a {
		o.Done(r)
	}
}

// watched are observers of which some are told of events.
type watched struct {
	all
	watchers []inference.Watcher
}

// Begin implements inference.Watcher.
func (w watched) Begin(info *inference.CallInfo) (parts bool) {
	for _, o := range w.watchers {
		parts = o.Begin(info) || parts
	}
	return parts
}

// Event implements inference.Watcher.
func (w watched) Event(e inference.Event) {
	for _, o := range w.watchers {
		o.Event(e)
	}
}

// WithoutTexts returns an observer that tells another of calls without the texts of their prompts
// and answers. It is a Watcher if the other is.
func WithoutTexts(o inference.Observer) inference.Observer {
	bare := withoutTexts{o}
	if w, ok := o.(inference.Watcher); ok {
		return watched{all{bare}, []inference.Watcher{w}}
	}
	return bare
}

type withoutTexts struct{ inference.Observer }

// Done implements inference.Observer.
func (w withoutTexts) Done(r inference.Record) {
	r.Asked = r.Asked.WithoutTexts()
	w.Observer.Done(r)
}
