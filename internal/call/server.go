package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

// server is a connection to an MCP server.
type server struct{ client *client.Client }

// connect starts the server, or connects to a running one, and initializes the session. The
// stderr of a server that it starts goes to stderr.
func (o *Options) connect(ctx context.Context, stderr io.Writer) (*server, error) {
	to, err := o.transport(stderr)
	if err != nil {
		return nil, failure{statusServer, err}
	}
	s := &server{client.NewClient(to)}
	if err := s.client.Start(ctx); err != nil {
		return nil, failure{statusServer, fmt.Errorf("the server cannot be started: %w", err)}
	}
	hello := mcp.InitializeRequest{Params: mcp.InitializeParams{
		ClientInfo: mcp.Implementation{Name: "ollama-mcp call", Version: "1"},
	}}
	if _, err := s.client.Initialize(ctx, hello); err != nil {
		switch {
		case errors.Is(err, transport.ErrAuthorizationRequired):
			err = o.explainDenied()
		case errors.Is(err, transport.ErrLegacySSEServer): // any other status from 400 to 499
			err = errors.New("the server takes no MCP there: the URL usually ends in /mcp")
		default:
			err = s.explain(err)
		}
		return nil, failure{statusServer, err}
	}
	return s, nil
}

// explainDenied says what to do about a server that has answered 401.
func (o *Options) explainDenied() error {
	if o.Key == "" {
		return errors.New("the server wants a key: set OLLAMA_MCP_KEY to one that it accepts")
	}
	return errors.New("the server does not accept the key in OLLAMA_MCP_KEY; it may have been revoked, or be that of another server")
}

// transport returns the transport to the server.
func (o *Options) transport(stderr io.Writer) (transport.Interface, error) {
	quiet := slog.New(slog.DiscardHandler)
	switch {
	case o.URL != "" && o.Key != "":
		return transport.NewStreamableHTTP(o.URL, transport.WithHTTPLogger(quiet),
			transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer " + o.Key}))
	case o.URL != "":
		return transport.NewStreamableHTTP(o.URL, transport.WithHTTPLogger(quiet))
	case len(o.Server) == 0:
		return nil, errors.New("no command to start the server")
	}
	return link{transport.NewStdioWithOptions(o.Server[0], nil, o.Server[1:],
		transport.WithCommandLogger(quiet),
		transport.WithCommandFunc(func(_ context.Context, name string, _, args []string) (*exec.Cmd, error) {
			// The end of ctx must not kill the server, which would leave Ollama
			// working: the server gets a cancellation, and then ends by itself.
			cmd := exec.Command(name, args...)
			cmd.Stderr = stderr
			setApart(cmd)
			return cmd, nil
		}))}, nil
}

// stop ends the session. It closes the stdin of a server that connect has started and waits
// for it: after 2 s the server gets a SIGTERM, and 3 s later it is killed. The error says how
// the server ended if it did not end well.
func (s *server) stop() error { return s.client.Close() }

func (s *server) tools(ctx context.Context) ([]mcp.Tool, error) {
	got, err := s.client.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		return nil, failure{statusServer, s.explain(err)}
	}
	return got.Tools, nil
}

// textPiece is text of an answer that has arrived since the piece before.
type textPiece struct {
	Text  string `json:"text"`
	Again bool   `json:"again"` // the answer begins anew, and this is all of it
}

// Names in the metadata of a call and of its progress.
const (
	wantsText = "ollama-mcp/stream"
	hasText   = "ollama-mcp/text"
)

// call calls a tool. It passes progress to progress unless that is nil, and with stream also
// the text that has arrived.
func (s *server) call(ctx context.Context, tool string, args map[string]any, stream bool, progress func(message string, piece textPiece)) (*mcp.CallToolResult, error) {
	req := mcp.CallToolRequest{Params: mcp.CallToolParams{Name: tool, Arguments: args}}
	if progress != nil {
		req.Params.Meta = &mcp.Meta{ProgressToken: tool}
		if stream {
			req.Params.Meta.AdditionalFields = map[string]any{wantsText: true}
		}
		s.client.OnNotification(func(n mcp.JSONRPCNotification) {
			if message, ok := n.Params.AdditionalFields["message"].(string); ok && n.Method == "notifications/progress" {
				progress(message, pieceOf(n))
			}
		})
	}
	result, err := s.client.CallTool(ctx, req)
	if _, lost := errors.AsType[*transport.Error](err); lost {
		return nil, failure{statusServer, s.explain(err)}
	}
	return result, err
}

// pieceOf returns the text in a progress notification; none if there is none.
func pieceOf(n mcp.JSONRPCNotification) (piece textPiece) {
	if raw, err := json.Marshal(n.Params.Meta[hasText]); err == nil {
		_ = json.Unmarshal(raw, &piece) // what has another form is no text of ours
	}
	return piece
}

// explain stops the server and says why there was no answer.
func (s *server) explain(err error) error {
	why := s.stop()
	switch {
	case !errors.Is(err, transport.ErrTransportClosed):
		return fmt.Errorf("the server did not answer: %w", err)
	case why != nil:
		return fmt.Errorf("the server ended before it answered: %w", why)
	}
	return errors.New("the server ended before it answered")
}

// link is a transport that sends the cancellation of a call before the caller returns. The
// client does that by itself, but in another goroutine, which closing the connection
// overtakes.
type link struct{ *transport.Stdio }

func (l link) SendRequest(ctx context.Context, req transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	resp, err := l.Stdio.SendRequest(ctx, req)
	if err != nil && ctx.Err() != nil && req.Method == string(mcp.MethodToolsCall) {
		// If this fails, the server is stopped next anyway.
		_ = l.Stdio.SendNotification(context.WithoutCancel(ctx), mcp.JSONRPCNotification{
			JSONRPC: mcp.JSONRPC_VERSION,
			Notification: mcp.Notification{
				Method: string(mcp.MethodNotificationCancelled),
				Params: mcp.NotificationParams{AdditionalFields: map[string]any{
					"requestId": req.ID, "reason": "interrupted",
				}},
			},
		})
	}
	return resp, err
}

// SendNotification leaves out cancellations, which SendRequest has sent.
func (l link) SendNotification(ctx context.Context, n mcp.JSONRPCNotification) error {
	if n.Method == string(mcp.MethodNotificationCancelled) {
		return nil
	}
	return l.Stdio.SendNotification(ctx, n)
}
