package inference

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
)

// This file takes apart what a model has written into one text: thoughts before an answer,
// and words around JSON. Hosts do that for models that they know, and not for all.

// thoughtTags are what models put around their thoughts.
var thoughtTags = []struct{ open, end string }{
	{"<think>", "</think>"},
	{"<thinking>", "</thinking>"},
	{"<thought>", "</thought>"},
	{"<thoughts>", "</thoughts>"},
	{"<reasoning>", "</reasoning>"},
	{"<seed:think>", "</seed:think>"},
	{"[think]", "[/think]"},
	{"<|begin_of_thought|>", "<|end_of_thought|>"},
	{"◁think▷", "◁/think▷"},
}

// findFormat makes the part of an answer its text that fits the format of the request, if the
// whole does not.
func (t *task) findFormat(a *backend.Answer) {
	if t.format == nil || len(a.ToolCalls) > 0 {
		return
	}
	if _, err := t.format.parse(a.Text); err == nil {
		return
	}
	if text, ok := t.findFitting(a.Text); ok {
		a.Text = text
		return
	}
	// The opening tag may have been a part of the prompt.
	if thoughts, text, ok := cutLastThought(a.Text); ok {
		if text, ok = t.findFitting(text); ok {
			a.Thinking, a.Text = a.Thinking+thoughts, text
		}
	}
}

// separateThoughts moves the thoughts at the beginning of an answer, which stand between tags,
// to where thoughts belong. An answer that was cut may have no closing tag. Tags that the
// request speaks of are left: the caller wants them.
func (t *task) separateThoughts(a *backend.Answer) {
	if t.Raw { // a raw prompt is for callers who read what the model writes themselves
		return
	}
	isCut := a.DoneReason == "" || a.DoneReason.End() == backend.EndCut
	const blank = " \t\r\n"
	rest := strings.TrimLeft(a.Text, blank)
	if !strings.HasPrefix(rest, "<") && !strings.HasPrefix(rest, "[") && !strings.HasPrefix(rest, "◁") {
		return
	}
	// A hostile model may write millions of tags, so each byte is looked at once.
	lower := lowerASCII(rest)
	thoughts, wanted := []string{a.Thinking}, make(map[string]bool)
	for {
		i := slices.IndexFunc(thoughtTags, func(tag struct{ open, end string }) bool { return strings.HasPrefix(lower, tag.open) })
		if i < 0 {
			break
		}
		tag := thoughtTags[i]
		if _, known := wanted[tag.open]; !known {
			wanted[tag.open] = t.mentions(tag.open)
		}
		if wanted[tag.open] {
			break
		}
		end := strings.Index(lower[len(tag.open):], tag.end)
		if end < 0 {
			if isCut {
				thoughts, rest = append(thoughts, rest[len(tag.open):]), ""
			}
			break
		}
		end += len(tag.open)
		thoughts = append(thoughts, strings.TrimSpace(rest[len(tag.open):end]))
		rest = strings.TrimLeft(rest[end+len(tag.end):], blank)
		lower = lower[len(lower)-len(rest):]
	}
	if len(thoughts) > 1 {
		a.Thinking, a.Text = strings.Join(thoughts, ""), rest
	}
}

// mentions reports whether a tag is in the request.
func (t *task) mentions(tag string) bool {
	if indexFold(t.Prompt, tag) >= 0 || indexFold(t.System, tag) >= 0 {
		return true
	}
	return slices.ContainsFunc(t.Messages, func(m backend.Message) bool {
		return m.Role != "assistant" && indexFold(m.Content, tag) >= 0
	})
}

// cutLastThought cuts a text behind the last closing tag.
func cutLastThought(text string) (thoughts, rest string, ok bool) {
	lower, at, length := lowerASCII(text), -1, 0
	for _, tag := range thoughtTags {
		if i := strings.LastIndex(lower, tag.end); i > at {
			at, length = i, len(tag.end)
		}
	}
	if at < 0 {
		return "", text, false
	}
	return strings.TrimSpace(text[:at]), text[at+length:], true
}

// findFitting returns the part of a text that fits the format of the request: the last
// fenced block that does, or else the only JSON object or list that does.
func (t *task) findFitting(text string) (fitting string, ok bool) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
	if len(text) > mostSearched {
		return "", false
	}
	for _, candidate := range append([]string{text}, fenced(text)...) {
		if _, err := t.format.parse(candidate); err == nil {
			return candidate, true
		}
	}
	for _, candidate := range jsonIn(text) {
		if _, err := t.format.parse(candidate); err == nil && candidate != fitting {
			if ok {
				return "", false // which of them is the answer?
			}
			fitting, ok = candidate, true
		}
	}
	return fitting, ok
}

// The work on the parts of a text is bounded by these.
const (
	mostParts    = 32      // that are tried
	mostSearched = 1 << 20 // bytes of the text
)

// fenced are the blocks between fences, the last first. The last may lack its closing fence.
func fenced(text string) (blocks []string) {
	const fence = "```"
	parts := strings.Split(text, fence)
	for i := 1; i < len(parts); i += 2 {
		block := parts[i]
		if line, rest, ok := strings.Cut(block, "\n"); ok && !strings.ContainsAny(line, `{["`) { // the language
			block = rest
		} else if at := strings.IndexAny(block, `{["`); at >= 0 && at <= len("jsonc ") {
			block = block[at:]
		}
		blocks = append(blocks, strings.TrimSpace(block))
	}
	slices.Reverse(blocks)
	return blocks[:min(len(blocks), mostParts)]
}

// jsonIn are the objects and lists that a text holds.
func jsonIn(text string) (values []string) {
	for range mostParts {
		at := strings.IndexAny(text, "{[")
		if at < 0 {
			break
		}
		text = text[at:]
		var value json.RawMessage
		if json.NewDecoder(strings.NewReader(text)).Decode(&value) != nil {
			text = text[1:]
			continue
		}
		text = text[len(value):]
		values = append(values, string(bytes.Clone(value)))
	}
	return values
}

func indexFold(text, part string) int { return strings.Index(lowerASCII(text), part) }

// lowerASCII is a text with its ASCII letters in lower case, and as many bytes.
func lowerASCII(text string) string {
	lower := []byte(text)
	for i, b := range lower {
		if b >= 'A' && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	return string(lower)
}
