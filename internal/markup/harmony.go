package markup

import (
	"strings"

	"ollama-mcp/internal/backend"
)

// This file reads the messages that models of the gpt-oss kind write into their answer: a header
// with a channel, and maybe the function that the message is for, and then the message. A host
// that does not know the model passes them on as the text of the answer.

const (
	startMark   = "<|start|>"
	channelMark = "<|channel|>"
	messageMark = "<|message|>"
	callMark    = "<|call|>"
)

// endMarks are what a message ends with. Behind the last two comes the next.
var endMarks = []string{"<|end|>", "<|return|>", callMark, startMark, channelMark}

// separateChannels takes the messages in the text of an answer apart; ok is false if there are
// none. What is said in the channel of thoughts becomes thoughts, a call of a tool that was
// offered becomes a tool call, and the rest is the text. What cannot be read is left as it is.
func (r Request) separateChannels(text string) (got Answer, ok bool) {
	first := strings.Index(text, messageMark)
	if first < 0 {
		return got, false
	}
	rest := text
	var thoughts, texts []string
	begin := strings.TrimLeft(rest, blanks)
	switch header := strings.TrimSpace(rest[:first]); {
	case strings.HasPrefix(begin, startMark), strings.HasPrefix(begin, channelMark):
	case header == "analysis" || header == "commentary" || header == "final": // the beginning was a part of the prompt
		rest = channelMark + begin
	default: // as was the whole header of the first message
		at := endOf(rest[:first])
		if at < 0 || !strings.Contains(rest[at:first], startMark+"assistant") {
			return got, false
		}
		thoughts, rest = append(thoughts, strings.TrimSpace(rest[:at])), rest[at:]
	}
	for rest = strings.TrimLeft(rest, blanks); rest != ""; rest = strings.TrimLeft(rest, blanks) {
		header, body, ok := strings.Cut(rest, messageMark)
		if !ok {
			if !isHeader(rest) {
				texts = append(texts, rest)
			}
			break
		}
		end := endOf(body)
		if end < 0 {
			end = len(body)
		}
		whole := rest[:len(header)+len(messageMark)+end]
		body, rest = body[:end], body[end:]
		switch call := r.call(header, body); {
		case call != nil:
			got.Calls = append(got.Calls, *call)
		case strings.Contains(header, "to="):
			texts = append(texts, whole)
		case channelOf(header) == "analysis":
			thoughts = append(thoughts, strings.TrimSpace(body))
		default:
			texts = append(texts, strings.TrimSpace(body))
		}
		rest = withoutEnd(rest)
	}
	got.Thinking, got.Text = strings.Join(thoughts, "\n"), strings.Join(texts, "\n\n")
	return got, true
}

// endOf is where a message ends; -1 if nothing ends it.
func endOf(text string) int {
	first := -1
	for _, end := range endMarks {
		if at := strings.Index(text, end); at >= 0 && (first < 0 || at < first) {
			first, text = at, text[:at]
		}
	}
	return first
}

// withoutEnd cuts the end of a message from what follows it.
func withoutEnd(text string) string {
	for _, end := range endMarks[:3] {
		text = strings.TrimPrefix(text, end)
	}
	return text
}

// isHeader reports whether a text without a message is only the beginning of one.
func isHeader(text string) bool {
	return strings.HasPrefix(text, startMark) || strings.HasPrefix(text, channelMark)
}

// channelOf is the channel in the header of a message; "" for none.
func channelOf(header string) string {
	_, channel, _ := strings.Cut(header, channelMark)
	return firstWord(channel)
}

// firstWord is the beginning of a text, up to a blank or a mark.
func firstWord(text string) string {
	if at := strings.IndexAny(text, "<"+blanks); at >= 0 {
		return text[:at]
	}
	return text
}

// call is the tool call that a message is; nil if it is none, or of a tool that was not
// offered.
func (r Request) call(header, body string) *backend.ToolCall {
	_, to, ok := strings.Cut(header, "to=")
	if !ok {
		return nil
	}
	name := strings.TrimPrefix(firstWord(to), "functions.")
	given, err := backend.Arguments([]byte(strings.TrimSpace(body)))
	if err != nil || !r.Offers(name) {
		return nil
	}
	call := new(backend.ToolCall)
	call.Function.Name, call.Function.Arguments = name, given
	return call
}
