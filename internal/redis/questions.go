package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/cache"
)

// Questions that the semantic cache compares with are told by a stream, to which each replica adds
// those that it has answered, and which all read to the end once a second, from its beginning at
// first. The key of the stream has the name of the time since all was last cleared, as records do.
// The answers are records like any other, which a replica looks up when it needs one.

const (
	// questionInterval is how often a replica looks for questions of the others.
	questionInterval = time.Second
	// questionBytes is about how much the stream may take. Older questions make room.
	questionBytes = 32 << 20
	// maxQuestion bounds a question with its vector, in bytes.
	maxQuestion = 128 << 10
	// questionsAtOnce is how many questions are told or read by one command.
	questionsAtOnce = 64
	// questionsWaiting is how many questions may wait to be told. More than that are not told.
	questionsWaiting = 256
)

// question is one that is told.
type question struct {
	header
	data []byte
}

func (c *Client) keyOfQuestions(era string) string { return c.keyOfLimit("questions", era) }

// TellQuestion has the other replicas hear of a question, soon. The scope is that of its answer.
// While the server cannot be reached nobody hears of it, as nobody has the answer.
func (c *Client) TellQuestion(scope cache.Scope, data []byte) {
	if !c.usable.Load() || len(data) > maxQuestion {
		return
	}
	q := question{header{Scope: scope, Stored: time.Now().Round(0)}, data}
	c.mu.Lock()
	q.Era, q.Model = c.cleared[allModels], c.cleared[c.sealer.name(scope.Model)]
	c.mu.Unlock()
	select {
	case c.questions <- q:
	default: // others are told of so much that they will not miss it
	}
}

// ShareQuestions tells the other replicas of questions, and has hear called for theirs, until ctx
// ends. What hear can make nothing of is unreadable.
func (c *Client) ShareQuestions(ctx context.Context, hear func(scope cache.Scope, data []byte) (ok bool)) {
	r := questionReader{Client: c, hear: hear}
	ticker := time.NewTicker(questionInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-c.questions:
			c.tell(c.withWaiting(q))
		case <-ticker.C:
			for r.read(ctx) {
			}
		}
	}
}

// withWaiting is a question with those that wait to be told too.
func (c *Client) withWaiting(q question) []question {
	all := []question{q}
	for len(all) < questionsAtOnce {
		select {
		case next := <-c.questions:
			all = append(all, next)
		default:
			return all
		}
	}
	return all
}

// tell adds questions to the stream.
func (c *Client) tell(all []question) {
	era := c.era()
	key := c.keyOfQuestions(era)
	var records [][]byte
	for _, q := range all {
		if q.Era == "" || q.Era != era {
			continue // its answer has been cleared
		}
		if record, err := c.sealer.encode(key, q.header, q.data); err == nil {
			records = append(records, record)
		}
	}
	if len(records) == 0 {
		return
	}
	c.write(key, func(b rueidis.Builder) (all rueidis.Commands) {
		for _, record := range records {
			most := strconv.Itoa(questionBytes / len(record))
			all = append(all, b.Arbitrary("XADD").Keys(key).Args("MAXLEN", "~", most, "*", c.id, rueidis.BinaryString(record)).Build())
		}
		return append(all, b.Arbitrary("PEXPIRE").Keys(key).Args(milliseconds(c.opts.TTL)).Build())
	})
}

// era is the name of the time since all was last cleared; "" if it is not known.
func (c *Client) era() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cleared[allModels]
}

// questionReader reads the stream.
type questionReader struct {
	*Client
	hear func(scope cache.Scope, data []byte) (ok bool)
	key  string    // of the stream; "" before the first
	last string    // ID of the last question that was read
	next time.Time // when to read again, after the server has refused it; the zero Time if it has not
}

// read reads the next questions, and reports whether there may be more.
func (r *questionReader) read(ctx context.Context) (more bool) {
	era := r.era()
	if era == "" || time.Now().Before(r.next) {
		return false
	}
	if key := r.keyOfQuestions(era); key != r.key {
		r.key, r.last = key, "0-0"
	}
	results, ok := r.do(ctx, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{
			b.Arbitrary("XREAD").Args("COUNT", strconv.Itoa(questionsAtOnce), "STREAMS").Keys(r.key).Args(r.last).Build(),
			// This comes second, so that what is told after a model was cleared is not taken for older.
			b.Arbitrary("HGETALL").Keys(r.keyOfCleared()).Build(),
		}
	})
	if !ok {
		return false
	}
	streams, err := results[0].AsXRead()
	if rueidis.IsRedisNil(err) {
		return false
	}
	var cleared map[string]string
	if err == nil {
		cleared, err = results[1].AsStrMap()
	}
	if err != nil { // such as that of a server that has no streams
		r.noteUnreadable(r.key, err)
		r.next = time.Now().Add(warnInterval)
		return false
	}
	if cleared[allModels] != era {
		r.poke()
		return false
	}
	for _, entry := range streams[r.key] {
		if r.era() != era { // what was cleared since would be remembered
			return false
		}
		r.last = entry.ID
		for replica, record := range entry.FieldValues {
			if replica != r.id {
				r.take([]byte(record), cleared)
			}
		}
	}
	return len(streams[r.key]) == questionsAtOnce && ctx.Err() == nil
}

// take takes over a question, unless it has been cleared.
func (r *questionReader) take(record []byte, cleared map[string]string) {
	h, data, err := r.sealer.decode(r.key, record)
	if err == nil && h.Model != cleared[r.sealer.name(h.Scope.Model)] {
		return
	}
	if err == nil && !r.hear(h.Scope, data) {
		err = errors.New("it is no question")
	}
	if err != nil {
		r.noteUnreadable(r.key, err)
	}
}
