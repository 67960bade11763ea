package semantic

import (
	"strings"
	"unicode"
)

// Reasons not to answer a question from an earlier one, besides those of Guard.
const (
	None      Reason = "none"      // there is no entry to compare it with
	Far       Reason = "far"       // below the threshold
	Ambiguous Reason = "ambiguous" // a question with another answer is about as similar
	Gone      Reason = "gone"      // the answer of the match is no longer cached; for callers to count

	Tools    Reason = "tools"
	Images   Reason = "images"
	Messages Reason = "messages" // the conversation is long
	Short    Reason = "short"
	Long     Reason = "long"
)

const (
	// DefaultThreshold is the lowest similarity of questions that share an answer, for an
	// embedding model without a threshold of its own.
	DefaultThreshold = 0.95
	// DefaultMargin is the default lead in similarity that a match must have over the best
	// match with another answer.
	DefaultMargin = 0.005
	// Considered is the number of matches to pass to Judge. It is large enough that matches
	// which Guard rejects do not crowd out a good one.
	Considered = 8
)

// Rules say when a match is good enough. The zero Rules are the defaults.
type Rules struct {
	Threshold float64 // lowest similarity; 0 means DefaultThreshold
	Margin    float64 // smallest lead over a match with another answer; 0 means DefaultMargin, negative means none
}

// Verdict is the outcome of a look-up.
type Verdict[K comparable] struct {
	Match   Match[K] // the best match, if any
	Refused Reason   // why it must not be served; "" if it may
}

// Judge picks the most similar match that Guard does not reject, from those that Nearest
// returned. If Guard rejects all, the verdict is about the most similar one.
func Judge[K comparable](question string, matches []Match[K], rules Rules) Verdict[K] {
	rules = rules.withDefaults()
	if len(matches) == 0 {
		return Verdict[K]{Refused: None}
	}
	best := Verdict[K]{Refused: Far, Match: matches[0]}
	for i, m := range matches {
		if m.Similarity < rules.Threshold-rules.Margin {
			break
		}
		refused := Guard(question, m.Question)
		switch {
		case best.Refused == "" && refused == "" && m.Answer != best.Match.Answer:
			if best.Match.Similarity-m.Similarity < rules.Margin {
				best.Refused = Ambiguous
			}
			return best
		case best.Refused == "" || m.Similarity < rules.Threshold:
		case refused == "":
			best = Verdict[K]{Match: m}
		case i == 0:
			best.Refused = refused
		}
	}
	return best
}

func (r Rules) withDefaults() Rules {
	if r.Threshold == 0 {
		r.Threshold = DefaultThreshold
	}
	if r.Margin == 0 {
		r.Margin = DefaultMargin
	}
	r.Margin = max(0, r.Margin)
	return r
}

// Request holds what decides whether a question is looked up at all.
type Request struct {
	Question string // the last message of the user
	Messages int    // number in the conversation, without the system prompt
	Images   bool   // in any message
	Tools    bool   // offered, called, or answered
}

const (
	longest      = 2000 // bytes of a question: a vector hardly shows one sentence of many
	fewestWords  = 3    // or Chinese characters: shorter questions are ambiguous
	mostMessages = 3    // later questions depend on the conversation
)

// Skip returns why a request is neither looked up nor remembered, or "".
func Skip(r Request) Reason {
	switch {
	case r.Tools:
		return Tools
	case r.Images:
		return Images
	case r.Messages > mostMessages:
		return Messages
	case len(r.Question) > longest:
		return Long
	case countWords(r.Question) < fewestWords:
		return Short
	}
	return ""
}

// countWords counts words, and each Chinese character as one.
func countWords(text string) (n int) {
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsPunct(r) }) {
		han := 0
		for _, r := range field {
			if isHan(r) {
				han++
			}
		}
		n += max(1, han)
	}
	return n
}
