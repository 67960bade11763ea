// Package markup takes apart what a model has written into one text: thoughts, the answer and
// calls of tools. Hosts do that for the models that they know, and not for all: some models put
// thoughts between tags, others write messages to several channels. It also finds JSON that has
// other words around it.
//
// It promises that no part of a text is lost, that text in which markup is only spoken of is left
// as it is, and that its work grows with the length of the text alone.
package markup

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ollama-mcp/internal/backend"
)

// Answer is a text whose parts have been told apart.
type Answer struct {
	Text     string
	Thinking string
	Calls    []backend.ToolCall
}

// Request says what of the request an answer's markup depends on.
type Request struct {
	// Mentions reports whether a tag, in lower case, is in the request: such tags are left where
	// they are, since the caller wants them.
	Mentions func(tag string) bool
	// Offers reports whether the request offers a tool of that name.
	Offers func(tool string) bool
}

// thoughtTags are what models put around their thoughts, in lower case.
var thoughtTags = []thoughtTag{
	{open: "<think>", end: "</think>"},
	{open: "<thinking>", end: "</thinking>"},
	{open: "<thought>", end: "</thought>"},
	{open: "<thoughts>", end: "</thoughts>"},
	{open: "<reasoning>", end: "</reasoning>"},
	{open: "<reason>", end: "</reason>"},
	{open: "<scratchpad>", end: "</scratchpad>"},
	{open: "<inner_thoughts>", end: "</inner_thoughts>"},
	{open: "<seed:think>", end: "</seed:think>"},
	{open: "[think]", end: "[/think]"},
	{open: "[thinking]", end: "[/thinking]"},
	{open: "<|think|>", end: "<|/think|>"},
	{open: "<|thinking|>", end: "<|/thinking|>"},
	{open: "<|begin_of_thought|>", end: "<|end_of_thought|>"},
	{open: "<|start_thinking|>", end: "<|end_thinking|>"},
	{open: "◁think▷", end: "◁/think▷"},
	{open: "<|channel>thought", end: "<channel|>"},
	{open: "analysis", end: "assistantfinal", isPlain: true}, // of harmony without its special tokens
}

// openers are the first bytes of all markup but plain words.
var openers = func() string {
	first := channelMark[:1]
	for _, tag := range thoughtTags {
		if b := tag.open[:1]; !tag.isPlain && !strings.Contains(first, b) {
			first += b
		}
	}
	return first
}()

// mayHaveMarkup reports whether a text has a byte that markup begins with, or begins with a plain
// word that does. Most answers have neither, and need not be searched for each tag.
func mayHaveMarkup(text string) bool {
	for i := range len(openers) {
		if strings.IndexByte(text, openers[i]) >= 0 {
			return true
		}
	}
	return slices.ContainsFunc(thoughtTags, func(tag thoughtTag) bool { return tag.isPlain && hasPrefixFold(text, tag.open) })
}

// thoughtTag is what stands before and behind thoughts.
type thoughtTag struct {
	open, end string
	isPlain   bool // made of words that may begin any answer, so that only both together are tags
}

// answerTags are special tokens that some models put around the answer behind their thoughts, in
// lower case.
var answerTags = []thoughtTag{
	{open: "<|start_response|>", end: "<|end_response|>"},
	{open: "<|begin_of_solution|>", end: "<|end_of_solution|>"},
	{open: "[begin final response]", end: "[end final response]"},
}

const blanks = " \t\r\n"

// Separate takes an answer apart; ok is false if it has no markup. An answer that was cut may have
// no closing tag, and one whose prompt ended with the opening tag has the closing tag alone.
func (r Request) Separate(text string, isCut bool) (got Answer, ok bool) {
	rest := strings.TrimLeft(text, blanks)
	if !mayHaveMarkup(rest) {
		return Answer{Text: rest}, false
	}
	if !r.Mentions(channelMark) {
		if got, ok = r.separateChannels(text); ok {
			return got, true
		}
	}
	got.Thinking, got.Text, ok = r.cutThoughts(rest, isCut)
	if !ok {
		got.Thinking, got.Text, ok = r.cutUnopened(rest)
	}
	answer, isMarked := r.unwrapped(got.Text)
	got.Text = answer
	return got, ok || isMarked
}

// cutThoughts cuts the thoughts between tags from the beginning of a text. A hostile model may
// write millions of tags, so each byte is looked at once.
func (r Request) cutThoughts(rest string, isCut bool) (thoughts, text string, ok bool) {
	lower := lowerASCII(rest)
	var all []string
	wanted := make(map[string]bool)
	for {
		tag, length := opening(lower)
		if tag == nil {
			break
		}
		if _, known := wanted[tag.open]; !known {
			wanted[tag.open] = r.Mentions(tag.open)
		}
		if wanted[tag.open] {
			break
		}
		end := strings.Index(lower[length:], tag.end)
		if end < 0 {
			if isCut && !tag.isPlain {
				all, rest = append(all, rest[length:]), ""
			}
			break
		}
		end += length
		all = append(all, strings.TrimSpace(rest[length:end]))
		rest = strings.TrimLeft(rest[end+len(tag.end):], blanks)
		lower = lower[len(lower)-len(rest):]
	}
	return strings.Join(all, ""), rest, len(all) > 0
}

// opening is the tag that a text in lower case begins with, which may have attributes, and the
// bytes that it takes; nil for none.
func opening(lower string) (tag *thoughtTag, length int) {
	for i := range thoughtTags {
		tag := &thoughtTags[i]
		if strings.HasPrefix(lower, tag.open) {
			return tag, len(tag.open)
		}
		name, isElement := strings.CutSuffix(tag.open, ">")
		if rest, ok := strings.CutPrefix(lower, name+" "); ok && isElement && !strings.HasSuffix(name, "|") {
			const most = 200 // bytes of attributes
			if at := strings.IndexAny(rest[:min(len(rest), most)], "<>\n"); at >= 0 && rest[at] == '>' {
				return tag, len(lower) - len(rest) + at + 1
			}
		}
	}
	return nil, 0
}

// cutUnopened cuts thoughts whose opening tag was a part of the prompt from a text.
func (r Request) cutUnopened(text string) (thoughts, rest string, ok bool) {
	lower, at := lowerASCII(text), -1
	var tag *thoughtTag
	for i := range thoughtTags {
		if found := strings.Index(lower, thoughtTags[i].end); found >= 0 && !thoughtTags[i].isPlain && (at < 0 || found < at) {
			tag, at = &thoughtTags[i], found
		}
	}
	if at < 0 || strings.Contains(lower[:at], tag.open) || r.Mentions(tag.open) || r.Mentions(tag.end) {
		return "", text, false
	}
	before, after := text[:at], text[at+len(tag.end):]
	if strings.TrimSpace(after) == "" || !endsThoughts(before, after) {
		return "", text, false
	}
	return strings.TrimSpace(before), strings.TrimLeft(after, blanks), true
}

// endsThoughts reports whether a closing tag between two texts ends thoughts, and is not just
// spoken of: it is not quoted, and it stands at an end of its line, or behind a whole sentence, or
// right before the answer.
func endsThoughts(before, after string) bool {
	line := before[strings.LastIndexByte(before, '\n')+1:]
	if strings.Count(before, "```")%2 == 1 || strings.Count(line, "`")%2 == 1 {
		return false
	}
	behind, _, _ := strings.Cut(after, "\n")
	if strings.TrimSpace(line) == "" || strings.TrimSpace(behind) == "" {
		return true
	}
	next, _ := utf8.DecodeRuneInString(after)
	last, _ := utf8.DecodeLastRuneInString(line)
	if strings.ContainsRune("\"'‘“«„([{", last) || strings.ContainsRune("\"'’”»)].,;:!?", next) {
		return false
	}
	end, _ := utf8.DecodeLastRuneInString(strings.TrimRight(line, blanks))
	return !unicode.IsSpace(next) || strings.ContainsRune(".!?…。！？", end)
}

// unwrapped is a text without the special tokens around an answer, and whether it had them. Of an
// answer that was cut the closing one may be missing.
func (r Request) unwrapped(text string) (answer string, ok bool) {
	for _, tag := range answerTags {
		if trimmed := strings.TrimLeft(text, blanks); hasPrefixFold(trimmed, tag.open) && !r.Mentions(tag.open) {
			answer = strings.TrimSpace(trimmed[len(tag.open):])
			if at := strings.LastIndex(lowerASCII(answer), tag.end); at >= 0 && strings.TrimSpace(answer[at+len(tag.end):]) == "" {
				answer = strings.TrimRight(answer[:at], blanks)
			}
			return answer, true
		}
	}
	return text, false
}

// CutLast cuts a text behind the last closing tag.
func CutLast(text string) (thoughts, rest string, ok bool) {
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

// Begins reports whether what has come of an answer begins with markup, or may turn out to when
// more has come. Words that may begin any answer do not count.
func (r Request) Begins(text string) bool {
	lower := lowerASCII(strings.TrimLeft(text, blanks))
	begins := func(open string) bool {
		name, isElement := strings.CutSuffix(open, ">")
		return (strings.HasPrefix(lower, open) || strings.HasPrefix(open, lower) || isElement && strings.HasPrefix(lower, name+" ")) && !r.Mentions(open)
	}
	for _, tags := range [][]thoughtTag{thoughtTags, answerTags} {
		for _, tag := range tags {
			if !tag.isPlain && begins(tag.open) {
				return true
			}
		}
	}
	return begins(startMark) || begins(channelMark)
}

// Answers returns where the answer begins in a text whose thoughts, at its beginning, have ended;
// not ok if they have not, or if that cannot be told before the answer is whole.
func (r Request) Answers(text string) (at int, ok bool) {
	_, answer, ok := r.cutThoughts(strings.TrimLeft(text, blanks), false)
	if !ok || answer == "" || r.Begins(answer) || strings.Contains(text, messageMark) {
		return 0, false
	}
	return len(text) - len(answer), true
}

// Follower follows an answer as it comes, to see whether all of it so far are thoughts.
type Follower struct {
	end  string // that the thoughts end with; "" until they have begun
	over bool   // they have not begun, or have ended
}

// Add takes in a piece of an answer, with all that has come before it, and reports whether all so
// far are thoughts.
func (f *Follower) Add(r Request, piece, soFar string) bool {
	if f.over {
		return false
	}
	if f.end == "" {
		const longest = 256 // bytes of an opening tag
		begin := strings.TrimLeft(soFar[:min(len(soFar), longest)], blanks)
		if begin != "" && strings.IndexByte(openers, begin[0]) < 0 {
			f.over = true
			return false
		}
		lower := lowerASCII(begin)
		if strings.HasPrefix(lower, channelMark+"analysis") && !r.Mentions(channelMark) {
			f.end = channelMark + "final"
		} else if tag, _ := opening(lower); tag != nil && !tag.isPlain && !r.Mentions(tag.open) {
			f.end = tag.end
		} else {
			f.over = len(lower) == longest
			return false
		}
	}
	news := min(len(soFar), len(piece)+len(f.end))
	f.over = IndexFold(soFar[len(soFar)-news:], f.end) >= 0
	return !f.over
}

// IndexFold is where a part, in lower case, begins in a text in any case; -1 for nowhere.
func IndexFold(text, part string) int { return strings.Index(lowerASCII(text), part) }

func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && lowerASCII(text[:len(prefix)]) == prefix
}

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
