package inference

import (
	"regexp"
	"strings"
	"unicode"

	"ollama-mcp/internal/fault"
)

// longestName is longer than any model's name: the longest that Ollama has, with host,
// namespace, model and tag, takes 593 bytes.
const longestName = 600

// checkName refuses what cannot be a model's name. argument is what it came in.
func checkName(argument, name string) error {
	switch {
	case len(name) > longestName:
		return fault.Invalidf("argument %q has %d bytes, and no model has a name of more than %d: take one from list-models", argument, len(name), longestName)
	case strings.TrimSpace(name) != name:
		return fault.Invalidf("argument %q begins or ends with a blank: take a name from list-models as it is", argument)
	case strings.ContainsFunc(name, isUnseen):
		return fault.Invalidf("argument %q holds a character that nobody can see: take a name from list-models as it is", argument)
	}
	return nil
}

func isUnseen(r rune) bool { return !unicode.IsGraphic(r) }

// pullable are names that Ollama may know, with nothing in them that means something else
// in a shell or in a path.
var pullable = regexp.MustCompile(`^\w[\w.-]*(:\d+)?(/\w[\w.-]*)*(:\w[\w.-]*)?$`)
