package semantic

import (
	"strings"
	"unicode"
)

// Why a question is not answered from an earlier one, beside what guards find.
const (
	None      Reason = "none"      // nothing is kept that it could be compared with
	Far       Reason = "far"       // below the threshold
	Ambiguous Reason = "ambiguous" // a question with another answer is as near
	Gone      Reason = "gone"      // the answer of the match is kept no more; for callers to count

	Tools    Reason = "tools"
	Images   Reason = "images"
	Messages Reason = "messages" // the conversation is long
	Short    Reason = "short"
	Long     Reason = "long"
)

const (
	// DefaultThreshold is the similarity below which questions are not the same,
	// for an embedding model of which nothing is known.
	DefaultThreshold = 0.95
	// DefaultMargin is how much nearer a match must be than the nearest with
	// another answer.
	DefaultMargin = 0.005
	// Considered is how many matches to give to Judge: enough that those which a
	// guard refuses do not hide the right one.
	Considered = 8
)

// Rules say when a match is good enough. The zero Rules are the defaults.
type Rules struct {
	Threshold float64 // least similarity; 0 means DefaultThreshold
	Margin    float64 // least lead; 0 means DefaultMargin, less means none
}

// Verdict is what has become of a look-up.
type Verdict[K comparable] struct {
	Match   Match[K] // the best there was, if any
	Refused Reason   // why it is not to be served; "" if it is
}

// Judge picks the match that answers a question, from those that Nearest found.
// It is the nearest that no guard refuses. If none is left, the verdict is about
// the nearest of all.
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

// Request is what decides whether a question is looked up at all.
type Request struct {
	Question string // the last message of the user
	Messages int    // of the conversation, but for the system prompt
	Images   bool   // in any message
	Tools    bool   // offered, called, or answered
}

const (
	longest      = 2000 // bytes of a question: one sentence of many does not show in a vector
	fewestWords  = 3    // or characters of Chinese: fewer mean too much
	mostMessages = 3    // what is asked after more depends on what was said
)

// Skip says why a request is neither to be looked up nor to be kept, or "".
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
