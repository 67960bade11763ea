package dashboard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ollama-mcp/internal/inference"
)

// Bounds of texts, in bytes.
const (
	maxName    = 200
	maxText    = 400
	maxContent = 4000 // of a prompt or an answer
	maxList    = 20
)

// finished is a call that is over, as the page is told of it. Times are in milliseconds: Began by
// the clock of that moment, as in the log, and those of attempts since then.
type finished struct {
	Number     uint64   `json:"n"`
	Trace      string   `json:"trace"`
	Tool       string   `json:"tool"`
	API        string   `json:"api,omitempty"` // method and path of a call by the gateway
	Caller     string   `json:"caller"`
	Began      int64    `json:"began"`
	Took       int64    `json:"took"`
	Requested  string   `json:"requested,omitempty"`
	Model      string   `json:"model,omitempty"`
	Host       string   `json:"host,omitempty"`
	Source     string   `json:"source,omitempty"`
	Cache      string   `json:"cache,omitempty"`
	Age        float64  `json:"age,omitempty"`        // of a cached answer, in seconds
	Similarity float64  `json:"similarity,omitempty"` // of the question it was given to
	Saved      int64    `json:"saved,omitempty"`
	Rung       int      `json:"rung,omitempty"`
	Passed     []string `json:"passed,omitempty"`
	TokensIn   int      `json:"in,omitempty"`
	TokensOut  int      `json:"out,omitempty"`
	Rate       float64  `json:"rate,omitempty"`
	Load       int64    `json:"load,omitempty"`
	First      int64    `json:"first,omitempty"` // from the slot, the load included
	Done       string   `json:"done,omitempty"`
	Code       string   `json:"code,omitempty"`
	Err        string   `json:"err,omitempty"`
	Overridden []string `json:"overridden,omitempty"`
	Filtered   []string `json:"filtered,omitempty"`

	Place    int          `json:"place,omitempty"` // in the queue, when it came
	Expect   int64        `json:"expect,omitempty"`
	Attempts []attemptOut `json:"attempts,omitempty"`
	More     int          `json:"more,omitempty"` // attempts that are not listed

	Prompt string `json:"prompt,omitempty"`
	Answer string `json:"answer,omitempty"`
}

type attemptOut struct {
	Host   string `json:"host"`
	Model  string `json:"model,omitempty"`
	Hedge  bool   `json:"hedge,omitempty"`
	Waited int64  `json:"waited,omitempty"` // for the slot
	At     int64  `json:"at"`               // when the slot was given
	First  int64  `json:"first,omitempty"`
	End    int64  `json:"end,omitempty"` // 0 for the end of the call
	Pause  int64  `json:"pause,omitempty"`
	Why    string `json:"why,omitempty"` // this host
	Err    string `json:"err,omitempty"`
}

// finished is a call without what has happened to it on the way.
func (p *Page) finished(r *inference.Record) finished {
	s := &r.Served
	f := finished{
		Number: r.Call, Trace: clip(r.Trace, maxName), Tool: clip(r.Tool, maxName), API: r.HTTP.String(), Caller: callerName(r.Caller),
		Began: r.Began.UnixMilli(), Took: max(0, r.Took.Milliseconds()),
		Requested: clip(s.Requested, maxName), Model: clip(s.Model, maxName), Host: clip(s.Host, maxName), Source: string(s.Source),
		Cache: string(r.Cache), Age: s.Age, Similarity: s.Similarity, Saved: r.Saved.Milliseconds(),
		Rung: s.Rung, Passed: clipAll(s.Passed), TokensIn: s.TokensIn, TokensOut: s.TokensOut, Rate: s.TokensPerSecond,
		First: s.FirstToken, Done: s.DoneReason, Code: string(r.Code), Err: clip(r.Err, maxText),
		Overridden: clipAll(s.Overridden), Filtered: clipAll(s.Filtered),
	}
	if s.Load != nil {
		f.Load = *s.Load
	}
	if r.Origin() == "cache" {
		f.Rate = 0 // it is that of the call whose answer this is
	}
	if p.opts.Content {
		f.Prompt, f.Answer = contentOf(&r.Asked)
	}
	return f
}

// over is a call that is over, and what has happened to it on the way, which is put into words
// when somebody looks.
type over struct {
	finished
	history *inference.History // nil if nothing has
}

// MarshalJSON implements json.Marshaler.
func (o over) MarshalJSON() ([]byte, error) {
	if h := o.history; h != nil {
		o.Place, o.Expect, o.More = h.Place, h.Expected.Milliseconds(), h.More
		o.Attempts = attemptsOut(h.Attempts)
	}
	return json.Marshal(o.finished)
}

func attemptsOut(all []inference.Attempt) (out []attemptOut) {
	for _, a := range all {
		out = append(out, attemptOut{
			Host: clip(a.Host, maxName), Model: clip(a.Model, maxName), Hedge: a.Hedge, Waited: a.Waited.Milliseconds(),
			At: a.Began.Milliseconds(), First: milliseconds(a.First), End: milliseconds(a.Ended), Pause: a.Pause.Milliseconds(),
			Why: clip(whyOf(&a), maxText), Err: clip(a.Err, maxText),
		})
	}
	return out
}

// milliseconds are at least 1 for what has happened, since 0 says that it has not.
func milliseconds(at time.Duration) int64 {
	if at == 0 {
		return 0
	}
	return max(1, at.Milliseconds())
}

// whyOf says why an attempt was made on its host.
func whyOf(a *inference.Attempt) string {
	why := a.Choice.String()
	if a.Hedge {
		return "asked as well, since the first host was late; " + why
	}
	return why
}

func contentOf(a *inference.Asked) (prompt, answer string) {
	switch {
	case a.Request != nil && len(a.Request.Messages) > 0:
		last := a.Request.Messages[len(a.Request.Messages)-1]
		prompt = last.Content
	case a.Request != nil:
		prompt = a.Request.Prompt
	default:
		prompt = strings.Join(a.Texts, "\n")
	}
	answer = a.Partial
	if a.Response != nil {
		answer = a.Response.Text
	}
	return clip(prompt, maxContent), clip(answer, maxContent)
}

// live is a call under way, as the page is told of it.
type live struct {
	Number    uint64   `json:"n"`
	Trace     string   `json:"trace"`
	Tool      string   `json:"tool"`
	API       string   `json:"api,omitempty"` // as of a finished call
	Caller    string   `json:"caller"`
	Began     int64    `json:"began"`
	Requested string   `json:"requested,omitempty"`
	Model     string   `json:"model,omitempty"`
	Host      string   `json:"host,omitempty"`
	Phase     string   `json:"phase"`
	Since     int64    `json:"since,omitempty"` // when the phase began
	Place     int      `json:"place,omitempty"`
	Of        int      `json:"of,omitempty"`
	Expect    int64    `json:"expect,omitempty"`
	Batch     bool     `json:"batch,omitempty"`
	Tokens    int      `json:"tokens,omitempty"`
	Rate      float64  `json:"rate,omitempty"`
	Thinking  bool     `json:"thinking,omitempty"`
	Parts     string   `json:"parts,omitempty"` // texts that are embedded: "3 of 7"
	Rung      int      `json:"rung,omitempty"`
	Passed    []string `json:"passed,omitempty"`
	Why       string   `json:"why,omitempty"` // this host, or this place
	Cancel    bool     `json:"cancel,omitempty"`
	Partial   string   `json:"partial,omitempty"`

	loading bool
}

// liveOf is a call without the reasons for where it is.
func (p *Page) liveOf(c *inference.LiveCall) live {
	pr := &c.Progress
	l := live{
		Number: c.ID, Trace: clip(c.Trace, maxName), Tool: clip(c.Tool, maxName), API: c.HTTP.String(), Caller: callerName(c.Caller.ID), Began: p.at(c.Began),
		Requested: clip(c.Requested, maxName), Model: clip(pr.Model, maxName), Host: clip(pr.Host, maxName), Phase: string(pr.State),
		Place: pr.Standing.Place, Of: pr.Standing.Of, Expect: pr.Standing.Expect.Milliseconds(), Batch: pr.Standing.Batch,
		Tokens: pr.Tokens, Thinking: pr.Thinking, Rung: c.Rung, Passed: clipAll(c.Passed), Cancel: c.Cancellable, loading: pr.Standing.Loading,
	}
	if l.Phase == "" {
		l.Phase = "starting"
	}
	if !pr.Since.IsZero() {
		l.Since = p.at(pr.Since)
		if s := time.Since(pr.Since).Seconds(); s > 0 && pr.Tokens > 1 {
			l.Rate = float64(int(float64(pr.Tokens-1)/s*10)) / 10
		}
	}
	if pr.Of > 0 {
		l.Parts = fmt.Sprintf("%d of %d", pr.Done, pr.Of)
	}
	if p.opts.Content {
		l.Partial = clip(c.Partial, maxContent)
	}
	if pr.State != inference.Waiting { // see explainPlaces
		l.explainHost(c.History.Attempts)
	}
	return l
}

// explainHost says why a call is on its host, or was on the last one.
func (l *live) explainHost(attempts []inference.Attempt) {
	for _, a := range slices.Backward(attempts) {
		if host := clip(a.Host, maxName); l.Host == "" || host == l.Host {
			l.Why, l.Host, l.Model = clip(whyOf(&a), maxText), host, cmp.Or(l.Model, clip(a.Model, maxName))
			return
		}
	}
}

// explainPlaces says of each waiting call why it has its place.
func explainPlaces(all []live) {
	for i := range all {
		l := &all[i]
		switch {
		case l.Phase != string(inference.Waiting):
			continue
		case l.loading:
			l.Why = "a host is loading the model for another call; this one goes on as soon as it is in memory"
		case l.Place <= 1:
			l.Why = "next: it gets the first free slot of a host that has its model"
		default:
			l.Why = placeWhy(all, l)
		}
	}
}

func placeWhy(all []live, l *live) string {
	ahead, order := make(map[string]int), []string(nil)
	interactive := 0
	for i := range all {
		other := &all[i]
		if other.Phase != string(inference.Waiting) || other.Place == 0 || other.Place >= l.Place {
			continue
		}
		if ahead[other.Caller]++; ahead[other.Caller] == 1 {
			order = append(order, other.Caller)
		}
		if !other.Batch {
			interactive++
		}
	}
	var parts []string
	for _, who := range order[:min(len(order), 5)] {
		parts = append(parts, fmt.Sprintf("%d of %s", ahead[who], who))
	}
	if len(order) > 5 {
		parts = append(parts, fmt.Sprintf("%d other callers", len(order)-5))
	}
	why := "callers take turns by how much time of hosts each has used"
	if l.Batch && interactive > 0 {
		why = "interactive calls go before batch, and " + why
	}
	if len(parts) == 0 {
		return why
	}
	return "after " + strings.Join(parts, ", ") + ": " + why
}

// callerName names a caller. On stdio there is one, without a name.
func callerName(id string) string { return clip(cmp.Or(id, "local"), maxName) }

// clip bounds a text to so many bytes of UTF-8. What it returns keeps no longer text in memory.
func clip(text string, most int) string {
	if len(text) <= most && utf8.ValidString(text) { // as nearly all are
		return text
	}
	isLong := len(text) > most
	text = strings.ToValidUTF8(text[:min(len(text), most+utf8.UTFMax)], "\uFFFD")
	if !isLong && len(text) <= most {
		return text
	}
	most = min(most, len(text))
	for most > 0 && most < len(text) && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…" // a copy
}

func clipAll(all []string) (out []string) {
	for _, text := range all[:min(len(all), maxList)] {
		out = append(out, clip(text, maxText))
	}
	return out
}
