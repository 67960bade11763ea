package observe

import "ollama-mcp/internal/inference"

// All returns an observer that tells several, in their order. It is a Watcher if one of them is.
func All(observers ...inference.Observer) inference.Observer {
	var watchers []inference.Watcher
	for _, o := range observers {
		watchers = append(watchers, watchersOf(o)...)
	}
	return watching(watchers, observers...)
}

// watchersOf are those whom an observer has told of events.
func watchersOf(o inference.Observer) []inference.Watcher {
	switch o := o.(type) {
	case watched: // which would only pass on what it is told
		return o.watchers
	case inference.Watcher:
		return []inference.Watcher{o}
	}
	return nil
}

// watching returns an observer that tells some of events, if there are any, and others of calls.
func watching(watchers []inference.Watcher, observers ...inference.Observer) inference.Observer {
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
func (w watched) Begin(info *inference.CallInfo) (wants inference.Wants) {
	for _, o := range w.watchers {
		wants = max(wants, o.Begin(info))
	}
	return wants
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
	return watching(watchersOf(o), withoutTexts{o})
}

type withoutTexts struct{ inference.Observer }

// Done implements inference.Observer.
func (w withoutTexts) Done(r inference.Record) {
	r.Asked = r.Asked.WithoutTexts()
	w.Observer.Done(r)
}
