package call

import (
	"io"
	"strings"
	"unicode"
)

// stream prints text on a terminal as it arrives.
type stream struct {
	w     io.Writer
	begun bool
	text  strings.Builder // all that has been printed of the answer
}

func newStream(w io.Writer) *stream { return &stream{w: w} }

// write prints a piece. If the answer begins anew, as on another host, it says so: what is on
// a terminal cannot be taken back.
func (s *stream) write(piece textPiece) {
	if piece.Again && s.begun {
		io.WriteString(s.w, "\n[the answer begins anew]\n")
		s.text.Reset()
	}
	s.begun = true
	s.text.WriteString(piece.Text)
	io.WriteString(s.w, shown(piece.Text))
}

// finish prints the rest of an answer that is complete.
func (s *stream) finish(answer string) error {
	rest, same := strings.CutPrefix(answer, s.text.String())
	if !same {
		rest = "\n[the complete answer]\n" + answer
	}
	if !strings.HasSuffix(answer, "\n") {
		rest += "\n"
	}
	_, err := io.WriteString(s.w, shown(rest))
	return err
}

// shown is text for a terminal, which must not be controlled by a model.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return -1
	}, text)
}
