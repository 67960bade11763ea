package backendtest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// Call is a request for an answer or for vectors, as the host received it.
type Call struct {
	At      time.Time
	Path    string // such as "/api/chat" or "/v1/chat/completions"
	Header  http.Header
	Body    []byte
	Model   string         // as backend.CanonicalModel spells it
	Prompt  string         // the prompt, the content of the last message, or the first input
	Options map[string]any // nil if there are none

	// One of these is set; for a request in the OpenAI API, with its text only.
	Generate *api.GenerateRequest
	Chat     *api.ChatRequest
	Embed    *api.EmbedRequest

	text     string // all text of the prompt
	keep     *api.Duration
	truncate *bool

	wantsUsage bool // a request in the OpenAI API asked for token counts
}

// readCall reads a request to its end, without which the server would not notice that
// the client disconnects.
func readCall(r *http.Request) (Call, error) {
	body, err := io.ReadAll(r.Body)
	c := Call{At: time.Now(), Path: r.URL.Path, Header: r.Header, Body: body}
	if err != nil {
		return c, err
	}
	switch c.Path {
	case "/api/generate":
		err = c.readGenerate()
	case "/api/chat":
		err = c.readChat()
	case "/api/embed":
		err = c.readEmbed()
	default:
		err = c.readOpenAI()
	}
	c.Model = backend.CanonicalModel(c.Model)
	return c, err
}

func (c *Call) readGenerate() error {
	var req api.GenerateRequest
	err := json.Unmarshal(c.Body, &req)
	c.Generate, c.Model, c.Prompt, c.Options = &req, req.Model, req.Prompt, req.Options
	c.text, c.keep, c.truncate = req.System+req.Prompt, req.KeepAlive, req.Truncate
	return err
}

func (c *Call) readChat() error {
	var req api.ChatRequest
	err := json.Unmarshal(c.Body, &req)
	var all strings.Builder
	for _, m := range req.Messages {
		c.Prompt = m.Content
		all.WriteString(m.Content)
	}
	c.Chat, c.Model, c.Options = &req, req.Model, req.Options
	c.text, c.keep, c.truncate = all.String(), req.KeepAlive, req.Truncate
	return err
}

func (c *Call) readEmbed() error {
	var req api.EmbedRequest
	err := json.Unmarshal(c.Body, &req)
	c.Embed, c.Model, c.Options = &req, req.Model, req.Options
	c.keep, c.truncate = req.KeepAlive, req.Truncate
	if in := c.inputs(); len(in) > 0 {
		c.Prompt = in[0]
	}
	return err
}

// inputs are the texts of an embed request. As at Ollama, an empty string alone is no
// text, and in a list it is one.
func (c *Call) inputs() []string {
	switch in := c.Embed.Input.(type) {
	case string:
		if in != "" {
			return []string{in}
		}
	case []any:
		texts := make([]string, len(in))
		for i := range in {
			texts[i], _ = in[i].(string)
		}
		return texts
	}
	return nil
}

// loadsOnly reports whether a request only loads or unloads the model.
func (c *Call) loadsOnly() bool {
	if isOpenAI(c.Path) {
		return false
	}
	return c.Generate != nil && c.Generate.Prompt == "" || c.Chat != nil && len(c.Chat.Messages) == 0
}

// numCtx is the context length of the call, in tokens.
func (c *Call) numCtx(m Model) int {
	if n, ok := c.Options["num_ctx"].(float64); ok && n > 0 {
		return int(n)
	}
	return m.Default
}

// keepAlive is how long the model stays in memory after the call.
func (c *Call) keepAlive() time.Duration {
	const always = 100 * 365 * 24 * time.Hour
	switch {
	case c.keep == nil:
		return 5 * time.Minute
	case c.keep.Duration < 0:
		return always
	}
	return min(c.keep.Duration, always)
}

// wantsLogprobs reports whether the call asks for the probabilities of tokens.
func (c *Call) wantsLogprobs() bool {
	return c.Generate != nil && c.Generate.Logprobs || c.Chat != nil && c.Chat.Logprobs
}
