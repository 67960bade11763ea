package markup

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// FindJSON returns the part of a text that fits: the last fenced block that does, or else the
// only JSON object or list that does. Texts that are longer than MostSearched are not searched.
func FindJSON(text string, fits func(part string) bool) (fitting string, ok bool) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
	if len(text) > MostSearched {
		return "", false
	}
	for _, candidate := range append([]string{text}, fenced(text)...) {
		if fits(candidate) {
			return candidate, true
		}
	}
	for _, candidate := range jsonIn(text) {
		if candidate != fitting && fits(candidate) {
			if ok {
				return "", false // which of them is the answer?
			}
			fitting, ok = candidate, true
		}
	}
	return fitting, ok
}

// MostSearched is how many bytes a text may have in which JSON is looked for.
const MostSearched = 1 << 20

// mostParts is how many parts of a text are tried.
const mostParts = 32

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
