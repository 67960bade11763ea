package cases_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// An httpRow is a case of requests over HTTP, to one or more servers with one key for their
// sessions and one host behind them, which answers "Paris".
type httpRow struct {
	name      string
	flags     []string
	protected bool // the servers accept the access tokens of an issuer alone
	exchanges []exchange
}

// An exchange is a request, and what must come back. In all texts {session} is the session id
// that came last, {forged} is one that nobody has issued, {base} the URL of the server, and
// {issuer} that of the issuer of access tokens.
type exchange struct {
	replica int  // the server that is asked
	restart bool // the server is started anew before

	request string // such as "POST /mcp"
	header  string // "Name: value" lines
	claims  string // of an access token, as JSON members beside those that a good one has
	body    string
	stream  bool // only the first event is read

	status int      // 0 means 200
	words  []string // of the header lines and the body; must not be there if they begin with "!"
}

const (
	hello2025 = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"cases","version":"1"}}}`
	askParis  = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"hi"}}}`

	inSession = "Mcp-Session-Id: {session}\nMcp-Protocol-Version: 2025-06-18\n"
)

var (
	begin    = exchange{request: "POST /mcp", body: hello2025, words: []string{"Mcp-Session-Id: "}}
	inParis  = exchange{request: "POST /mcp", header: inSession, body: askParis, words: []string{"Paris"}}
	isJSON   = "Content-Type: application/json"
	notFound = http.StatusNotFound
)

// at changes where an exchange takes place.
func (e exchange) at(replica int) exchange { e.replica = replica; return e }

// afterRestart has the server start anew before an exchange.
func (e exchange) afterRestart() exchange { e.restart = true; return e }

var overHTTP = []httpRow{
	{
		name:      "a session survives a restart of the server",
		exchanges: []exchange{begin, inParis, inParis.afterRestart()},
	}, {
		name:      "any replica takes a session",
		exchanges: []exchange{begin, inParis.at(1), inParis, inParis.at(1)},
	}, {
		name: "a session goes on after it was deleted",
		exchanges: []exchange{
			begin,
			{request: "DELETE /mcp", header: inSession, status: http.StatusNoContent},
			inParis, inParis.at(1),
		},
	}, {
		name: "a forged session is not found",
		exchanges: []exchange{
			begin,
			{request: "POST /mcp", header: "Mcp-Session-Id: {forged}\n", body: askParis, status: notFound, words: []string{isJSON, "initialize"}},
			{request: "DELETE /mcp", header: "Mcp-Session-Id: {forged}\n", status: notFound},
		},
	}, {
		name: "a session that was changed is not found, and begins anew with initialize",
		exchanges: []exchange{
			begin,
			{request: "POST /mcp", header: "Mcp-Session-Id: {session}x\n", body: askParis, status: notFound, words: []string{isJSON}},
			{request: "POST /mcp", header: "Mcp-Session-Id: x{session}\n", body: askParis, status: notFound, words: []string{isJSON}},
			{request: "DELETE /mcp/", header: "Mcp-Session-Id: {session}\n", status: http.StatusNoContent},
			{request: "DELETE /mcp", status: http.StatusBadRequest, words: []string{isJSON}},
			{request: "POST /mcp", header: "Mcp-Session-Id: {forged}\n", body: hello2025, words: []string{"Mcp-Session-Id: "}},
			inParis,
		},
	}, {
		name: "a client that names no session is served",
		exchanges: []exchange{
			{request: "POST /mcp", body: askParis, words: []string{"Paris", "!Mcp-Session-Id"}},
			{request: "POST /mcp", header: "Mcp-Protocol-Version: 2025-11-25\n", body: askParis, words: []string{"Paris"}},
			{request: "POST /mcp", body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`, status: http.StatusAccepted},
		},
	}, {
		name: "the endpoint of a stream is relative, for a proxy may serve us below a path",
		exchanges: []exchange{
			{request: "GET /sse", stream: true, words: []string{"event: endpoint\ndata: message?sessionId="}},
			{request: "GET /sse/", stream: true, words: []string{"event: endpoint\ndata: ../message?sessionId="}},
		},
	}, {
		name: "a slash at the end of an endpoint does not matter",
		exchanges: []exchange{
			{request: "POST /mcp/", body: hello2025, words: []string{"Mcp-Session-Id: "}},
			{request: "POST /mcp/", header: inSession, body: askParis, words: []string{"Paris"}},
		},
	}, {
		name: "what there is not is said in JSON",
		exchanges: []exchange{
			{request: "GET /.well-known/oauth-authorization-server", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /.well-known/oauth-authorization-server/mcp", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /.well-known/openid-configuration", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /.well-known/oauth-protected-resource", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "POST /register", body: `{}`, status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /nowhere", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /.well-known/oauth-protected-resource/mcp", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /mcp/.well-known/openid-configuration", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "POST /.well-known/anything", body: `{}`, status: notFound, words: []string{isJSON, `"error"`}},
			{request: "POST /register/", body: `{}`, status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /register", status: notFound, words: []string{isJSON, `"error"`}},
			{request: "GET /mcp/", status: http.StatusMethodNotAllowed, words: []string{isJSON, `"error"`}},
			{request: "POST /message/?sessionId=none", body: askParis, status: notFound, words: []string{isJSON, `"error"`}},
		},
	}, {
		name:      "metadata is where the challenge says it is",
		protected: true,
		flags:     []string{"--oauth-issuer={issuer}", "--oauth-audience=https://example.com/ollama/mcp"},
		exchanges: []exchange{
			{request: "POST /mcp", body: hello2025, status: http.StatusUnauthorized, words: []string{isJSON, `resource_metadata="https://example.com/.well-known/oauth-protected-resource/ollama/mcp"`}},
			{request: "GET /.well-known/oauth-protected-resource/ollama/mcp", words: []string{`"resource":"https://example.com/ollama/mcp"`}},
			{request: "GET /.well-known/oauth-protected-resource/ollama/sse", words: []string{`"resource":"https://example.com/ollama/sse"`}},
			{request: "GET /sse", status: http.StatusUnauthorized, words: []string{`resource_metadata="https://example.com/.well-known/oauth-protected-resource/ollama/sse"`}},
			{request: "POST /mcp", claims: `"sub":"alice"`, body: hello2025, words: []string{"Mcp-Session-Id"}},
		},
	}, {
		name:      "an issuer may be written with a slash at its end",
		protected: true,
		flags:     []string{"--oauth-issuer={issuer}/", "--oauth-audience=https://example.com/mcp"},
		exchanges: []exchange{
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp"`, body: hello2025, words: []string{"Mcp-Session-Id"}},
		},
	}, {
		name:      "the claim that is wrong is named",
		protected: true,
		flags:     []string{"--oauth-issuer={issuer}", "--oauth-audience=https://example.com/mcp"},
		exchanges: []exchange{
			{request: "POST /mcp", claims: `"sub":"alice","aud":null`, body: hello2025, status: http.StatusUnauthorized, words: []string{"claim aud is missing"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.org"`, body: hello2025, status: http.StatusUnauthorized, words: []string{"another audience (claim aud)"}},
			{request: "POST /mcp", claims: `"aud":"https://example.com/mcp"`, body: hello2025, status: http.StatusUnauthorized, words: []string{"claim sub is missing"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp","iat":{in40s}`, body: hello2025, words: []string{"Mcp-Session-Id"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":["https://example.org","https://example.com/mcp"]`, body: hello2025, words: []string{"Mcp-Session-Id"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp","iss":"{issuer}/"`, body: hello2025, words: []string{"Mcp-Session-Id"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp","iss":"https://example.org"`, body: hello2025, status: http.StatusUnauthorized, words: []string{"claim iss"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp","exp":1700000000`, body: hello2025, status: http.StatusUnauthorized, words: []string{"expired"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp","exp":null`, body: hello2025, status: http.StatusUnauthorized, words: []string{"claim exp"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp","nbf":4700000000`, body: hello2025, status: http.StatusUnauthorized, words: []string{"claim nbf"}},
			{request: "POST /mcp", claims: `"sub":"alice","aud":"https://example.com/mcp/"`, body: hello2025, words: []string{"Mcp-Session-Id"}},
			{request: "POST /mcp", claims: `"sub":7,"aud":"https://example.com/mcp"`, body: hello2025, status: http.StatusUnauthorized, words: []string{"claim"}},
		},
	}, {
		name: "a page of another site opens no stream",
		exchanges: []exchange{
			{request: "GET /sse", header: "Sec-Fetch-Site: cross-site\n", stream: true, status: http.StatusForbidden, words: []string{isJSON}},
			{request: "GET /sse", header: "Sec-Fetch-Site: same-origin\n", stream: true},
		},
	}, {
		name: "a message that two readers may take differently is refused",
		exchanges: []exchange{{
			request: "POST /mcp", status: http.StatusBadRequest, words: []string{"-32600", "!Paris"},
			header: "Mcp-Protocol-Version: 2026-07-28\nMcp-Method: tools/list\n",
			body:   `{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"hi"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
		}},
	},
}

// TestCasesOverHTTP runs the rows.
func TestCasesOverHTTP(t *testing.T) {
	for _, r := range overHTTP {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.run(t)
		})
	}
}

func (r httpRow) run(t *testing.T) {
	host := replies(text("Paris"))
	host.start(t)
	fill := map[string]string{"{session}": "", "{forged}": "bm9ib2R5.c2lnbmVk"}
	var issued *issuer
	if r.protected {
		issued = startIssuer(t)
		fill["{issuer}"] = issued.server.URL
	}
	replace := func(s string) string {
		for name, value := range fill {
			s = strings.ReplaceAll(s, name, value)
		}
		return s
	}
	key := filepath.Join(t.TempDir(), "session.key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--host=" + host.server.URL, "--session-key-file=" + key}
	for _, f := range r.flags {
		flags = append(flags, replace(f))
	}
	servers := map[int]*served{}
	for i, e := range r.exchanges {
		if servers[e.replica] == nil {
			servers[e.replica] = serve(t, flags...)
		} else if e.restart {
			servers[e.replica].stop(t)
			servers[e.replica] = serve(t, flags...)
		}
		e.header, e.body = replace(e.header), replace(e.body)
		if e.claims != "" {
			e.header += "Authorization: Bearer " + issued.token(t, replace(e.claims)) + "\n"
		}
		got := e.do(t, fmt.Sprintf("exchange %d", i+1), servers[e.replica])
		if id := got.Header.Get("Mcp-Session-Id"); id != "" {
			fill["{session}"] = id
		}
	}
}

// do sends the request, and checks the response.
func (e exchange) do(t *testing.T, name string, s *served) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	method, path, _ := strings.Cut(e.request, " ")
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, strings.NewReader(e.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for line := range strings.Lines(e.header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer resp.Body.Close()
	var got strings.Builder
	if err := resp.Header.Write(&got); err != nil {
		t.Fatal(err)
	}
	headers := strings.ReplaceAll(got.String(), "\r\n", "\n")
	got.Reset()
	for body := bufio.NewReader(resp.Body); ; {
		line, err := body.ReadString('\n')
		got.WriteString(line)
		if err == io.EOF || e.stream && resp.StatusCode == http.StatusOK && line == "\n" {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if want := max(e.status, http.StatusOK); resp.StatusCode != want {
		t.Errorf("%s: got status %d, want %d: %s", name, resp.StatusCode, want, got.String())
	}
	wantWords(t, name+" came back with", headers+"\n"+got.String(), e.words)
	return resp
}

// served is the program as a server.
type served struct {
	cmd     *exec.Cmd
	address string
	log     chan string // the whole log, once the program has ended
}

var listening = regexp.MustCompile(`msg=listening .*address=(\S+)`)

// serve starts the program at a port of the loopback interface, and ends it with the test.
func serve(t *testing.T, flags ...string) *served {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	s := &served{cmd: exec.CommandContext(ctx, program, append([]string{"--listen=127.0.0.1:0"}, flags...)...), log: make(chan string, 1)}
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t) })
	var log strings.Builder
	lines := bufio.NewScanner(stderr)
	for s.address == "" && lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
		if found := listening.FindStringSubmatch(lines.Text()); found != nil {
			s.address = found[1]
		}
	}
	go func() {
		for lines.Scan() {
			fmt.Fprintln(&log, lines.Text())
		}
		s.log <- log.String()
	}()
	if s.address == "" {
		t.Fatal("the program does not listen")
	}
	return s
}

// stop ends the program, unless it has ended.
func (s *served) stop(t *testing.T) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	http.DefaultClient.CloseIdleConnections()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	log := <-s.log
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the program did not end in good order: %v", err)
	}
	if t.Failed() {
		t.Logf("its log:\n%s", log)
	}
}
