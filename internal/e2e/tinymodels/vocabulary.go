package tinymodels

import (
	"slices"
	"strings"
)

// Markers are tokens of their own in every chat model, where the other text of
// a prompt comes apart into bytes. So a prompt counts as many tokens as it has
// bytes, with one for each marker.
const (
	// The template ends a prompt with one of these, and so chooses what follows.
	assistant = "<|assistant|>"
	answer    = "<|answer|>"

	// end is the token that stops an answer.
	end = "<|end|>"

	// plain stands for any byte: a raw prompt, which has no template, ends in one.
	plain = ""
)

var markers = []string{end, assistant, answer, "<|system|>", "<|user|>", "<|tool|>", "<think>", "</think>"}

// A vocabulary holds a chat model's tokens: markers, bytes, then the pieces of
// text in its paths.
type vocabulary struct {
	tokens []string
	types  []int32
	ids    map[string]int
}

// Kinds of token, as llama.cpp numbers them.
const (
	normalToken  = 1
	controlToken = 3
	userToken    = 4
)

func newVocabulary(paths []path) *vocabulary {
	v := &vocabulary{ids: map[string]int{}}
	for _, m := range markers {
		kind := int32(controlToken)
		if strings.HasSuffix(m, "think>") {
			kind = userToken // read from a prompt as one token, and shown in an answer
		}
		v.add(m, m, kind)
	}
	for b := range 256 {
		v.add(string([]byte{byte(b)}), gpt2Text(string([]byte{byte(b)})), normalToken)
	}
	for _, piece := range slices.Concat(paths...) {
		if _, known := v.ids[piece]; !known && piece != plain {
			v.add(piece, gpt2Text(piece), normalToken)
		}
	}
	return v
}

func (v *vocabulary) add(text, token string, kind int32) {
	v.ids[text] = len(v.tokens)
	v.tokens = append(v.tokens, token)
	v.types = append(v.types, kind)
}

func (v *vocabulary) idsOf(text string) []int {
	if text != plain {
		return []int{v.ids[text]}
	}
	ids := make([]int, 256)
	for b := range ids {
		ids[b] = v.ids[string([]byte{byte(b)})]
	}
	return ids
}

// gpt2Text spells text as a GPT-2 vocabulary does: each byte as a character that
// can be printed, those that cannot moved above the first 256.
func gpt2Text(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		out.WriteRune(gpt2Alphabet[b])
	}
	return out.String()
}

var gpt2Alphabet = func() (alphabet [256]rune) {
	moved := rune(256)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= '¡' && b <= '¬' || b >= '®' {
			alphabet[b] = b
			continue
		}
		alphabet[b] = moved
		moved++
	}
	return alphabet
}()
