package markup

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var plain = Request{Mentions: func(string) bool { return false }, Offers: func(tool string) bool { return tool == "f" }}

// writers are the ways in which models write thoughts before an answer.
var writers = map[string]func(thoughts, text string) string{
	"channels": func(thoughts, text string) string {
		return "<|channel|>analysis<|message|>" + thoughts + "<|end|><|start|>assistant<|channel|>final<|message|>" + text + "<|return|>"
	},
	"channels without tokens": func(thoughts, text string) string { return "analysis" + thoughts + "assistantfinal" + text },
	"a solution": func(thoughts, text string) string {
		return "<|begin_of_thought|>" + thoughts + "<|end_of_thought|>\n<|begin_of_solution|>" + text + "<|end_of_solution|>"
	},
	"a closing tag": func(thoughts, text string) string { return thoughts + "\n</think>\n\n" + text },
}

func TestThoughtsAndAnswersAreToldApartInEveryMarkup(t *testing.T) {
	all := make(map[string]func(thoughts, text string) string)
	for name, write := range writers {
		all[name] = write
	}
	for _, tag := range thoughtTags {
		if !tag.isPlain {
			all[tag.open] = func(thoughts, text string) string { return tag.open + thoughts + tag.end + text }
			all[strings.ToUpper(tag.open)] = func(thoughts, text string) string {
				return strings.ToUpper(tag.open) + "\n" + thoughts + "\n" + strings.ToUpper(tag.end) + "\n" + text
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.StringMatching(`[a-z0-9{}:".,<>/ \n]{0,30}[a-z0-9]`)
		thoughts, text := strings.TrimSpace(words.Draw(t, "thoughts")), strings.TrimSpace(words.Draw(t, "text"))
		for name, write := range all {
			written := write(thoughts, text)
			got, ok := plain.Separate(written, false)
			if !ok || got.Thinking != thoughts || got.Text != text {
				t.Fatalf("%s: %q is %+v, %v, want thoughts %q and the text %q", name, written, got, ok, thoughts, text)
			}
			wanted := Request{Mentions: func(string) bool { return true }, Offers: plain.Offers}
			if got, ok := wanted.Separate(written, false); ok {
				t.Fatalf("%s: %q is %+v, although the request names the tags", name, written, got)
			}
		}
	})
}

// FuzzSeparate has texts of which no part may be lost, but for markup.
func FuzzSeparate(f *testing.F) {
	for _, text := range []string{
		"", "<think>", "<think>a</think>b", "</think>", "<|message|>", "<|channel|><|message|>", "analysis<|message|>a<|end|>", "a<|end|><|start|>assistant<|channel|>final<|message|>b",
		"<|channel|>commentary to=f<|message|>{}<|call|>", "<|channel|>commentary to=f<|message|>{", "<think a=\"b\">c</think>", "<|START_RESPONSE|>a<|END_RESPONSE|>", "[BEGIN FINAL RESPONSE]a", "analysisaassistantfinalb",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, isCut bool) {
		got, ok := plain.Separate(text, isCut)
		if !ok {
			return
		}
		// All that is left out is markup and blanks.
		rest := text
		for _, part := range []string{got.Thinking, got.Text} {
			for word := range strings.FieldsSeq(part) {
				if !strings.Contains(rest, word) {
					t.Fatalf("%q is %+v, where %q comes from nowhere", text, got, word)
				}
			}
		}
		size := len(got.Thinking) + len(got.Text)
		for _, call := range got.Calls {
			size += len(call.Function.Arguments) + len(call.Function.Name)
		}
		if size == 0 && !strings.ContainsAny(text, "<[◁") && len(strings.TrimSpace(text)) > 0 {
			t.Fatalf("nothing is left of %q", text)
		}
	})
}

func TestFollowerTellsThoughtsFromAnAnswerThatComesInPieces(t *testing.T) {
	all := map[string]string{ // all of it that are thoughts as far as anybody can tell
		"<think>ab</think>cd":         "<think>ab</think",
		"<think x=\"1\">ab</think>cd": "<think x=\"1\">ab</think",
		"<think>a":                    "<think>a",
		"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b": "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>fina",
		"abc": "", "analysis of it": "", "<b>x</b>": "", " \n<think>a": " \n<think>a",
	}
	for _, tag := range thoughtTags {
		if text := tag.open + "ab" + tag.end; !tag.isPlain {
			all[text+"cd"] = text[:len(text)-1]
		}
	}
	for text, want := range all {
		var f Follower
		last := 0
		for end := 1; end <= len(text); end++ {
			if f.Add(plain, text[end-1:end], text[:end]) {
				last = end
			}
		}
		if text[:last] != want {
			t.Errorf("%q: thoughts up to %q, want %q", text, text[:last], want)
		}
	}
}

// TestBeginningOfAnAnswerDoesNotChangeByWhatFollows looks for it in texts as they come.
func TestBeginningOfAnAnswerDoesNotChangeByWhatFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"<think>", "</think>", "<thi", "hm ", "so ", "an answer ", "\n", " ", "< b", "◁think▷", "◁/think▷", "[THINK]", "[/THINK]", "é", "<|start_response|>", "analysis "})
		text := strings.Join(rapid.SliceOfN(part, 1, 12).Draw(t, "parts"), "")
		at, ok := plain.Answers(text)
		if !ok {
			return
		}
		if !plain.Begins(text) || plain.Begins(text[at:]) {
			t.Errorf("%q: the answer begins at %d, with markup, or behind none", text, at)
		}
		longer := text + "and more of it"
		if got, ok := plain.Separate(longer, false); !ok || got.Text != longer[at:] {
			t.Errorf("%q: the answer begins at %d, and with more behind it is %q", text, at, got.Text)
		}
	})
}
