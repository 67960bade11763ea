package e2e_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/tinymodels"
)

// Over HTTP there is nothing to lose: a session outlives its server. Over SSE the stream is
// lost. The SDKs for TypeScript open it again by themselves; other clients go by the status of
// the answer, and connect again.
func TestClientOfAServerThatWasStartedAnewGoesOnOrIsToldToConnectAgain(t *testing.T) {
	t.Parallel()
	goLegacy := sdk{"Go SDK as legacy", legacy, func(t *testing.T, at place) client {
		return join(t, deadline(t), &mcp.StreamableClientTransport{Endpoint: at.target + "/mcp"}, legacy)
	}}
	for transport, sdks := range map[string][]sdk{"http": append(slices.Clone(sdks), goLegacy), "sse": sdks} {
		for _, sdk := range sdks {
			t.Run(sdk.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				l := listen(t, "127.0.0.1:0")
				at := place{transport, l.url()}
				c := sdk.connect(t, at)
				c.tools()
				if d, ok := c.(*driven); ok {
					d.expectComplaints()
				}
				l.stop()
				listen(t, l.addr)

				p := c.start("generate", `{`+hi+`}`)
				<-p.done
				switch {
				case p.err == nil && p.answer.text() != tinymodels.Says.Answer:
					t.Errorf("got %+v", p.answer)
				case p.err != nil && (transport == "http" || !sessionIsGone(p.err)):
					t.Errorf("the next call: %v", p.err)
				}
				if _, ok := c.(*driven); ok && transport == "sse" {
					eventually(t, "the client has opened its stream again and goes on", func() bool {
						p := c.start("generate", `{`+hi+`}`)
						<-p.done
						return p.err == nil && p.answer.text() == tinymodels.Says.Answer
					})
				}
				if a := sdk.connect(t, at).start("generate", `{`+hi+`}`).result(); a.text() != tinymodels.Says.Answer {
					t.Errorf("connected again, it got %+v", a)
				}
				if s, ok := c.(*session); ok && transport == "http" {
					s.Close() // while a server is there for its DELETE
				}
			})
		}
	}
}

// sessionIsGone reports whether that is what the error means to an SDK. Over SSE, those
// for TypeScript tell the status in words only.
func sessionIsGone(err error) bool {
	if foreign, ok := errors.AsType[*sdkError](err); ok {
		return foreign.Code == 404.0 || strings.Contains(foreign.Message, "(HTTP 404)")
	}
	return errors.Is(err, mcp.ErrSessionMissing) || errors.Is(err, mcp.ErrConnectionClosed)
}
