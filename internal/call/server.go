package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/mark3labs/mcp-go/mcp"
)

// version is that of the protocol. Since this one, requests need neither a session nor a
// handshake before them.
const version = mcp.ProtocolVersion20260728

// server is an MCP server, of which one thing is asked at a time.
type server struct {
	link
	asked int // requests so far
}

// link carries messages to a server and back.
type link interface {
	// ask sends a request and returns its answer. What else the server says before that goes to
	// told. When ctx ends, ask cancels the request.
	ask(ctx context.Context, r *request, told func(*message)) (*message, error)

	// close ends the server if it was started for this. The error says how it ended, if that was
	// not well. It may be called again.
	close() error
}

// request is a message that asks something of the server.
type request struct {
	Version string         `json:"jsonrpc"`
	ID      int            `json:"id"`
	Method  mcp.MCPMethod  `json:"method"`
	Params  map[string]any `json:"params"`
}

// message is a message of the server: an answer if it has no method.
type message struct {
	ID     int    `json:"id"`
	Method string `json:"method"`
	Params struct {
		Message string `json:"message"` // of progress
		Meta    struct {
			Piece textPiece `json:"ollama-mcp/text"`
		} `json:"_meta"`
	} `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// textPiece is text of an answer that has arrived since the piece before.
type textPiece struct {
	Text  string `json:"text"`
	Again bool   `json:"again"` // the answer begins anew, and this is all of it
}

var errEnded = errors.New("the server ended before it answered")

// connect starts the server, whose stderr goes to stderr, or returns a running one.
func (o *Options) connect(stderr io.Writer) (*server, error) {
	if o.URL != "" {
		return &server{link: &endpoint{url: o.URL, key: o.Key}}, nil
	}
	if len(o.Server) == 0 {
		return nil, failure{statusServer, errors.New("no command to start the server")}
	}
	p, err := startProcess(o.Server, stderr)
	if err != nil {
		return nil, failure{statusServer, fmt.Errorf("the server cannot be started: %w", err)}
	}
	return &server{link: p}, nil
}

func (s *server) tools(ctx context.Context) ([]mcp.Tool, error) {
	got, err := s.request(ctx, mcp.MethodToolsList, map[string]any{}, map[string]any{}, nil)
	var list mcp.ListToolsResult
	if err == nil {
		err = json.Unmarshal(got, &list)
	}
	if err != nil {
		return nil, failure{statusServer, err}
	}
	return list.Tools, nil
}

// call calls a tool. It passes progress to progress unless that is nil, and with stream also
// the text that has arrived.
func (s *server) call(ctx context.Context, tool string, args map[string]any, stream bool, progress func(message string, piece textPiece)) (*mcp.CallToolResult, error) {
	meta := map[string]any{}
	if progress != nil {
		meta["progressToken"] = tool
	}
	if stream {
		meta["ollama-mcp/stream"] = true
	}
	got, err := s.request(ctx, mcp.MethodToolsCall, map[string]any{"name": tool, "arguments": args}, meta, progress)
	if err != nil {
		return nil, err
	}
	return mcp.ParseCallToolResult(&got)
}

// refuses is the error of a tool that the server does not list, in the words of the server, which knows the reason.
func (s *server) refuses(ctx context.Context, tool string) error {
	_, err := s.call(ctx, tool, map[string]any{}, false, nil)
	if _, isOther := errors.AsType[failure](err); isOther {
		return err
	}
	if err == nil {
		err = fmt.Errorf("the server does not list the tool %q", tool)
	}
	return failure{statusUsage, err}
}

// request asks the server and returns the result.
func (s *server) request(ctx context.Context, method mcp.MCPMethod, params, meta map[string]any, progress func(string, textPiece)) (json.RawMessage, error) {
	meta[mcp.MetaKeyProtocolVersion] = version
	meta[mcp.MetaKeyClientCapabilities] = struct{}{}
	meta[mcp.MetaKeyClientInfo] = mcp.Implementation{Name: "ollama-mcp call", Version: "1"}
	params["_meta"] = meta
	s.asked++
	answer, err := s.ask(ctx, &request{mcp.JSONRPC_VERSION, s.asked, method, params}, func(m *message) {
		if progress != nil && m.Method == "notifications/progress" {
			progress(m.Params.Message, m.Params.Meta.Piece)
		}
	})
	switch {
	case err != nil:
		return nil, failure{statusServer, s.explain(err)}
	case answer.Error != nil:
		return nil, errors.New(answer.Error.Message)
	}
	return answer.Result, nil
}

// explain ends the connection and says why there was no answer.
func (s *server) explain(err error) error {
	if why := s.close(); why != nil && errors.Is(err, errEnded) {
		return fmt.Errorf("%w: %w", errEnded, why)
	}
	return err
}
