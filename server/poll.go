package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/jsonrpc"
)

// Clients ask for each of their tasks every few seconds, and nearly always learn that it goes on.
// That answer takes no time and cannot fail, so it is given as soon as the message has been read:
// without a goroutine, a context and an entry among the requests in flight. Every request about a
// task that is anything else, or is written in an unusual way, is left to answerTask, so that there
// is one place for what can be wrong with it.

// pollMethod asks for a task.
const pollMethod = "tasks/get"

// maxPollAnswer is the most, in bytes, that is written of answers to polls at once: so much fits into a
// pipe that can be written to at all.
const maxPollAnswer = 4 << 10

// poll is what a message says that asks for a task.
type poll struct {
	id      json.RawMessage // of the message
	task    string
	version string // of the protocol
	client  string // the name that the client gives itself; "" if it does not
}

// readPoll reads a message that asks for a task, of a client that takes tasks. It takes only what
// is written as the protocol has it; ok is false for everything else.
func (s *Server) readPoll(m *incoming) (p poll, ok bool) {
	if m.Method != pollMethod || s.opts.Tasks.Jobs == nil || m.Kind != jsonrpc.KindRequest {
		return p, false
	}
	in := jsonrpc.NewStrict(m.Line)
	if in == nil {
		return p, false
	}
	takesTasks := false
	text := func(to *string) bool {
		inner, ok := in.Text()
		*to = string(inner)
		return ok
	}
	ok = in.Members(pollMembers.message, func(int) bool {
		return in.Members(pollMembers.params, func(name int) bool {
			switch name {
			case 0:
				return text(&p.task)
			case 1:
				return in.Members(pollMembers.meta, func(name int) bool {
					switch name {
					case 0:
						return text(&p.version)
					case 1:
						return in.Members(pollMembers.client, func(int) bool { return text(&p.client) })
					case 2:
						return in.Members(pollMembers.capabilities, func(int) bool {
							return in.Members(pollMembers.extensions, func(int) bool {
								takesTasks = in.IsObject()
								return in.Skip()
							})
						})
					}
					return in.Skip()
				})
			}
			return false
		})
	})
	p.id = m.ID
	return p, ok && in.End() && takesTasks && len(p.task) <= jsonrpc.MaxToken && isModern(p.version) && slices.Contains(revisions, p.version)
}

// pollMembers are the names by which a poll goes, of the message and of the objects in it. Those of params
// and _meta that only other requests have are there so that doubtful ones are left to the usual way.
var pollMembers = struct{ message, params, meta, client, capabilities, extensions []string }{
	message:      []string{"params"},
	params:       []string{"taskId", "_meta", "name", "arguments", "uri", "protocolVersion", "capabilities", "clientInfo", "inputResponses", "requestState"},
	meta:         []string{mcp.MetaKeyProtocolVersion, mcp.MetaKeyClientInfo, mcp.MetaKeyClientCapabilities, "progressToken"},
	client:       []string{"name"},
	capabilities: []string{"extensions"},
	extensions:   []string{tasksExtension},
}

// answerPoll appends the answer to a poll of a task that goes on. It returns nil if there is no such
// task in memory, or more to say of it.
func (s *Server) answerPoll(line []byte, who jobs.Owner, p poll) []byte {
	job := s.opts.Tasks.Jobs.Underway(who, p.task)
	if job == nil {
		return nil
	}
	t := s.describe(job.Info(), string(mcp.ResultTypeComplete))
	if t.Status != "working" {
		return nil
	}
	line = s.appendTask(line, p.id, &t)
	if len(line) >= maxPollAnswer { // with its end it would be longer
		return nil
	}
	return line
}

// appendTask appends an answer of a task that neither has ended nor asks for anything, with
// the same members as json.Marshal.
func (s *Server) appendTask(line []byte, id json.RawMessage, t *task) []byte {
	line = append(append(line, `{"jsonrpc":"2.0","id":`...), id...)
	line = append(append(append(line, `,"result":{"resultType":"`...), t.Type...), `","taskId":`...)
	line = jsonrpc.AppendString(line, t.ID)
	line = append(append(append(line, `,"status":"`...), t.Status...), '"')
	if t.StatusMessage != "" {
		line = jsonrpc.AppendString(append(line, `,"statusMessage":`...), t.StatusMessage)
	}
	line = t.Created.AppendFormat(append(line, `,"createdAt":"`...), time.RFC3339Nano)
	line = t.Updated.AppendFormat(append(line, `","lastUpdatedAt":"`...), time.RFC3339Nano)
	line = strconv.AppendInt(append(line, `","ttlMs":`...), t.TTL, 10)
	line = strconv.AppendInt(append(line, `,"pollIntervalMs":`...), t.PollInterval, 10)
	return append(append(append(line, `,"_meta":`...), s.about...), "}}"...)
}

// poll answers a message that asks for a task which goes on, and reports whether it has. Answers to
// messages that came together are sent together, by sendPolls. Until then they count as work.
func (c *conn) poll(m *incoming) bool {
	p, ok := c.server.readPoll(m)
	if !ok || c.isInFlight(m.ID) || c.server.limits.check(*m) != nil {
		return false
	}
	line := c.server.answerPoll(c.polled.next[:0], m.jobOwner(""), p)
	if line == nil {
		return false
	}
	c.polled.next = append(line, '\n')
	if len(c.polled.all)+len(c.polled.next) > maxPollAnswer {
		c.sendPolls()
	}
	if len(c.polled.all) == 0 {
		c.join()
	}
	c.polled.all = append(c.polled.all, c.polled.next...)
	return true
}

// polled are answers to polls that have not been sent. It belongs to the goroutine that reads.
type polled struct {
	all  []byte // lines, of maxPollAnswer bytes at most
	next []byte // the last answer, whose memory the next one uses
}

// sendPolls sends the answers to polls. They are written here if that cannot block, since the next
// message may be a cancellation.
func (c *conn) sendPolls() {
	if len(c.polled.all) == 0 {
		return
	}
	defer c.leave()
	if !c.writeAtOnce(c.polled.all) {
		lines := bytes.Clone(c.polled.all[:len(c.polled.all)-1])
		c.background(func() { c.write(lines) })
	}
	c.polled.all = c.polled.all[:0]
}

// writeAtOnce sends lines of at most maxPollAnswer bytes if that does not block, and reports whether
// it has.
func (c *conn) writeAtOnce(lines []byte) bool {
	select {
	case c.turn <- struct{}{}:
	default:
		return false
	}
	defer func() { <-c.turn }()
	if !c.hasRoom() {
		return false
	}
	c.put(lines)
	return true
}

// poll answers a message that asks for a task which goes on, and reports whether it has.
func (x *exchange) poll(m incoming) bool {
	p, ok := x.server.readPoll(&m)
	if !ok || !p.isNamedBy(x.req.Header) {
		return false
	}
	m.from = withClient(m.from, p.client)
	if x.server.limits.check(m) != nil || x.req.Context().Err() != nil || m.from.IsRevoked() {
		return false
	}
	buffer := x.server.buffers.Take()
	defer x.server.buffers.Give(buffer) // net/http has copied so short an answer
	line := x.server.answerPoll((*buffer)[:0], m.jobOwner(""), p)
	if line == nil {
		return false
	}
	*buffer = line
	beginJSON(x.w, http.StatusOK, len(line))
	_, _ = x.w.Write(line) // if it cannot, nobody is left to be told
	return true
}

// isNamedBy reports whether the headers of a request say the same as the message.
func (p poll) isNamedBy(header http.Header) bool {
	task, ok := mcp.DecodeHeaderValue(header.Get(mcp.HeaderName))
	return ok && task == p.task && header.Get(mcp.HeaderMethod) == pollMethod && header.Get(headerVersion) == p.version &&
		header.Get(mcp.HeaderLastEventID) == ""
}
