package install

import "time"

// format edits the text of settings. A text without contents is one of settings that are all
// at their defaults.
type format interface {
	// parse returns the settings as maps, slices and plain values.
	parse(text []byte) (any, error)
	// set gives the value at a path, and makes the objects on the way that are missing.
	set(text []byte, path []string, value any) ([]byte, error)
	// remove removes the value at a path, if there is one.
	remove(text []byte, path []string) ([]byte, error)
}

// members is an object whose members keep their order. Values are texts, lists of texts,
// int64, and members.
type members []member

type member struct {
	name  string
	value any
}

// Hosts that can be told so wait ten minutes for a tool; the server answers a little earlier.
const (
	hostWait    = 10 * time.Minute
	serverLimit = hostWait - 10*time.Second
	timeoutVar  = "OLLAMA_MCP_TIMEOUT"
)
