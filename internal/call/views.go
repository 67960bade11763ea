package call

import (
	"encoding/json"
	"io"
	"strings"
	"time"
)

// view prints a structured result for people to read.
type view func(w io.Writer, structured []byte, now time.Time) error

// views print the structured results of some tools for people to read, by the tool's name.
// Results of all other tools are printed as they are.
var views = map[string]view{
	"list-models": viewOf(printModels),
	"status":      viewOf(printStatus),
}

func viewOf[T any](show func(w io.Writer, out *T, now time.Time)) view {
	return func(w io.Writer, structured []byte, now time.Time) error {
		out := new(T)
		if err := json.Unmarshal(structured, out); err != nil {
			return err
		}
		var text strings.Builder
		show(&text, out, now)
		_, err := io.WriteString(w, text.String())
		return err
	}
}
