package inference

import (
	"encoding/json"
	"slices"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/markup"
)

// This file takes an answer apart that its host has left in one text.

// findFormat makes the part of an answer its text that fits the format of the request, if the
// whole does not.
func (t *task) findFormat(a *backend.Answer) {
	if t.format == nil || len(a.ToolCalls) > 0 {
		return
	}
	if _, err := t.format.parse(a.Text); err == nil {
		return
	}
	if text, ok := markup.FindJSON(a.Text, t.fits); ok {
		a.Text = text
		return
	}
	// The opening tag may have been a part of the prompt.
	if thoughts, text, ok := markup.CutLast(a.Text); ok {
		if text, ok = markup.FindJSON(text, t.fits); ok {
			a.Thinking, a.Text = a.Thinking+thoughts, text
		}
	}
}

// fits reports whether a text fits the format of the request.
func (t *task) fits(text string) bool {
	_, err := t.format.parse(text)
	return err == nil
}

// separateThoughts moves the thoughts and calls in the text of an answer to where they belong.
// What the callers of raw prompts get is what the model writes.
func (t *task) separateThoughts(a *backend.Answer) {
	isCut := a.DoneReason == "" || a.DoneReason.End() == backend.EndCut
	if t.Raw {
		return
	}
	if got, ok := t.markup().Separate(a.Text, isCut); ok {
		a.Text, a.Thinking = got.Text, a.Thinking+got.Thinking
		a.ToolCalls = append(a.ToolCalls, got.Calls...)
	}
}

// markup is what the markup of an answer depends on.
func (t *task) markup() markup.Request { return markup.Request{Mentions: t.mentions, Offers: t.offers} }

// mentions reports whether a tag is in the request.
func (t *task) mentions(tag string) bool {
	return markup.IndexFold(t.Prompt, tag) >= 0 || markup.IndexFold(t.System, tag) >= 0 || slices.ContainsFunc(t.Messages, func(m backend.Message) bool {
		return m.Role != "assistant" && markup.IndexFold(m.Content, tag) >= 0
	})
}

// offers reports whether the request offers a tool of that name.
func (t *task) offers(name string) bool {
	return slices.ContainsFunc(t.Tools, func(tool backend.Tool) bool {
		var described struct{ Function struct{ Name string } }
		return json.Unmarshal(tool.RawMessage, &described) == nil && described.Function.Name == name
	})
}
