package tinymodels

import (
	"iter"
	"slices"
	"strings"
)

// A Runner writes what a model would write, for an engine that cannot run one. It knows
// nothing of grammars: a format has no effect on it.
type Runner struct {
	vocab vocabulary
	texts []string // of the tokens, by number
	next  map[int]int
}

// Runner returns one for a model. That of a model which only embeds takes each byte for a
// token, and writes nothing.
func (m Model) Runner() *Runner {
	v := newVocabulary(m.paths)
	r := &Runner{vocab: *v, texts: make([]string, len(v.tokens)), next: v.successors(m.paths)}
	for text, id := range v.ids {
		r.texts[id] = text
	}
	return r
}

// Tokenize splits a text as the model's own tokenizer does: markers are tokens of their
// own, and everything else comes apart into bytes.
func (r *Runner) Tokenize(text string) []int {
	tokens := []int{}
	for len(text) > 0 {
		token := text[:1]
		for _, m := range markers {
			if strings.HasPrefix(text, m) {
				token = m
			}
		}
		tokens = append(tokens, r.vocab.ids[token])
		text = text[len(token):]
	}
	return tokens
}

// Detokenize is the text of some tokens.
func (r *Runner) Detokenize(tokens []int) string {
	var text strings.Builder
	for _, id := range tokens {
		if id >= 0 && id < len(r.texts) {
			text.WriteString(r.texts[id])
		}
	}
	return text.String()
}

// Complete writes token by token what follows a prompt, for ever if the model never ends.
func (r *Runner) Complete(prompt []int) iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(prompt) == 0 {
			return
		}
		latest := prompt[len(prompt)-1]
		for {
			next, ok := r.next[latest]
			if !ok || next == r.vocab.ids[end] || !yield(r.texts[next]) {
				return
			}
			latest = next
		}
	}
}

// ByName finds a model among all, or one of them that is native.
func ByName(name string) (m Model, ok bool) {
	name, native := strings.CutSuffix(name, nativeSuffix)
	i := slices.IndexFunc(All, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return Model{}, false
	}
	if native {
		return All[i].Native(), true
	}
	return All[i], true
}
