package gateway

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/schema"
)

// created is the time of a piece.
var created = regexp.MustCompile(`"created_at":"[^"]*"`)

func TestPiecesOfTextAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,20}`), rapid.SampledFrom([]string{markText, "a\xffb", "\u2028", "<&>", `"\`, "\x7f"}))
		model := text.Draw(t, "model")
		head := completionHead{ID: "id", Object: "chat.completion", Created: 7, Model: model}
		for name, out := range map[string]textWriter{
			"generate": &generateOut{Model: model}, "chat": &chatOut{Model: model},
			"chat completion": &completionChat{completionHead: head}, "completion": &completionText{completionHead: head, usage: rapid.Bool().Draw(t, "usage")},
		} {
			out.piece(inference.Piece{Text: "the first"})
			var f form
			f.learn(out.like())
			for range 2 {
				p := inference.Piece{Text: text.Draw(t, "text")}
				got := created.ReplaceAllString(string(f.append(nil, p.Text)), "")
				if want := created.ReplaceAllString(string(schema.MustMarshal(out.piece(p)[0])), ""); got != want {
					t.Fatalf("%s: got\n%s, want\n%s", name, got, want)
				}
			}
		}
	})
}
