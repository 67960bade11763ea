package observe

import "ollama-mcp/internal/inference"

// All tells several observers, in their order. None of them may be nil.
type All []inference.Observer

// Event implements inference.Observer.
func (a All) Event(e inference.Event) {
	for _, o := range a {
		o.Event(e)
	}
}

// Done implements inference.Observer.
func (a All) Done(r inference.Record) {
	for _, o := range a {
		o.Done(r)
	}
}

// WithoutTexts tells an observer of calls, without the texts of their prompts and answers.
type WithoutTexts struct{ inference.Observer }

// Done implements inference.Observer.
func (w WithoutTexts) Done(r inference.Record) {
	r.Asked = r.Asked.WithoutTexts()
	w.Observer.Done(r)
}
