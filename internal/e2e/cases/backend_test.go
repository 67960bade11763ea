package cases_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A reply is the response to one request for an answer or for vectors.
type reply struct {
	status int    // 0 means 200
	header string // "Name: value" lines beside the content type
	body   string
	chat   string // the body for /api/chat, if it is another
	cut    bool   // the connection breaks after the body
}

func (r reply) write(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	for line := range strings.Lines(r.header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		w.Header().Set(name, value)
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
	}
	_, _ = io.WriteString(w, r.body) // the program may have gone
	if r.cut {
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// text is an Ollama's answer, whole, in both of its APIs.
func text(s string) reply { return reason(s, "stop") }

// reason is an answer with another done_reason.
func reason(s, why string) reply {
	end := fmt.Sprintf(`{"done":true,"done_reason":%q,"prompt_eval_count":3,"eval_count":2}`, why)
	r := lines(fmt.Sprintf(`{"response":%s,"done":false}`, quoted(s)), end)
	r.chat = lines(fmt.Sprintf(`{"message":{"role":"assistant","content":%s},"done":false}`, quoted(s)), end).body
	return r
}

func lines(all ...string) reply { return reply{body: strings.Join(all, "\n") + "\n"} }

// refusal is an error in Ollama's form.
func refusal(status int, said string) reply {
	return reply{status: status, body: `{"error":` + quoted(said) + `}`}
}

// events are server-sent events with these data.
func events(data ...string) reply {
	return reply{body: "data: " + strings.Join(data, "\n\ndata: ") + "\n\n"}
}

// compressed is a reply with its body in gzip.
func compressed(r reply) reply {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, r.body)
	_ = w.Close() // into memory
	return reply{header: "Content-Encoding: gzip", status: r.status, body: packed.String()}
}

// delta is an event of a provider with this text.
func delta(s string) string {
	return fmt.Sprintf(`{"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}`, quoted(s))
}

// finish is the event that ends an answer.
func finish(why string) string {
	return fmt.Sprintf(`{"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":%q}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`, why)
}

// A backend is a host, or a provider, that replies to requests for answers in turn. The
// last reply is that to all further requests.
type backend struct {
	replies []reply

	// tags, show and version replace parts of a host's list of models and of its descriptions,
	// and its version.
	tags, show, version string

	// of answers a request by what is in it, before replies are looked at.
	of map[string]reply

	// handle answers requests in the place of replies, if it is set.
	handle func(w http.ResponseWriter, r *http.Request, body string)

	server *httptest.Server
	mu     sync.Mutex // guards asked
	asked  []string   // the bodies of the requests
}

const models = `{"models":[
	{"name":"m:latest","model":"m:latest","size":1000,"digest":"d1","details":{"family":"llama"}},
	{"name":"small:latest","model":"small:latest","size":500,"digest":"d2","details":{"family":"llama"}},
	{"name":"bad:latest","model":"bad:latest","size":500,"digest":"d3","details":{"family":"llama"}},
	{"name":"e:latest","model":"e:latest","size":100,"digest":"d4","details":{"family":"bert"}}]}`

func (b *backend) start(t *testing.T) {
	t.Helper()
	b.server = httptest.NewServer(b)
	t.Cleanup(b.server.Close)
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	send := func(body string) { reply{body: body}.write(w, "application/json") }
	switch r.URL.Path {
	case "/":
		send("Ollama is running")
	case "/api/version":
		send(`{"version":"` + orElse(b.version, "0.34.0") + `"}`)
	case "/api/tags":
		send(orElse(b.tags, models))
	case "/api/ps":
		send(`{"models":[]}`)
	case "/api/show":
		body, _ := io.ReadAll(r.Body)
		capabilities := `["completion","tools","thinking"]`
		if strings.Contains(string(body), `"e`) {
			capabilities = `["embedding"]`
		}
		send(orElse(b.show, `{"details":{"family":"llama"},"model_info":{"general.architecture":"llama","llama.context_length":8192},"capabilities":`+capabilities+`}`))
	case "/v1/models":
		send(`{"object":"list","data":[{"id":"m1","object":"model"}]}`)
	default:
		contentType := "application/x-ndjson"
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			contentType = "text/event-stream"
		}
		body, _ := io.ReadAll(r.Body) // what has come is what counts
		if b.handle != nil {
			b.handle(w, r, string(body))
			return
		}
		next := b.next(string(body))
		if r.URL.Path == "/api/chat" && next.chat != "" {
			next.body = next.chat
		}
		next.write(w, contentType)
	}
}

// next is the reply whose turn it is.
func (b *backend) next(body string) reply {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, body)
	for part, reply := range b.of {
		if strings.Contains(body, part) {
			return reply
		}
	}
	if len(b.replies) == 0 {
		return refusal(500, "no reply is left")
	}
	return b.replies[min(len(b.asked), len(b.replies))-1]
}

// requests are those for answers so far.
func (b *backend) requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// quoted is a text as JSON.
func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always can be
	}
	return string(raw)
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}
