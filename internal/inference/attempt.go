package inference

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/markup"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/schema"
	"ollama-mcp/pool"
)

// tryRung has a request answered by a model of ours or of a provider, and avoids the hosts
// that were tried before. The model has to begin its answer within its share of the time,
// of which the rungs behind it need as much. What it returns is never nil.
func (c *climb) tryRung(ctx context.Context, rung route.Rung, others int, tried []string) (*result, error) {
	began := time.Now()
	blank := result{served: Served{Requested: c.Model, Model: rung.String(), Source: Local}}
	if isCloud(rung) {
		blank.served.Source = Cloud
	}
	all := attempts{best: &blank}
	ctx, patience := c.limitStart(ctx, others)
	defer patience.stop()

	need := c.need(&c.Common, rung, c.text+c.images, c.deadline)
	need.HedgeAfter, need.Tried = c.hedgeAfter(rung), tried
	if c.opts.Affinity && rung.Provider == "" {
		need.Prefixes = c.prefixes(need.Model)
	}
	if !c.again {
		need.MaxPause = c.maxPause(others)
	}
	c.call.watch(&need, c.leg(rung), c.tracker)
	queued := need.OnWait
	if others > 0 {
		need.OnWait = func(now route.Standing, later func() route.Standing) {
			queued(now, later)
			patience.expect(now.Expect)
		}
	}
	before := delay{began: began}
	err := c.lender(rung).With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
		patience.granted()
		got := blank
		got.granted(lease, &before)
		err := c.attempt(ctx, rung, others, lease, &got, nil, patience.answered)
		c.call.attempted(c.leg(rung), lease, got.answer, err)
		all.add(&got, err)
		return err
	})
	if why := context.Cause(ctx); err != nil && errors.Is(why, errTooLate) {
		if come, a := c.tracker.partial(); come.answer.Tokens == 0 && a != nil {
			c.finishLoading(a) // for the next call
		}
		err = why
	}
	if err != nil {
		all.best.tried = all.tried
	} else {
		need.HedgeAfter, need.OnWait = 0, queued
		all.best = c.fit(ctx, rung, need, all.best)
	}
	all.best.served.Total = time.Since(began).Milliseconds()
	return all.best, err
}

// leg is what the climb asks of the pool for a rung.
func (c *climb) leg(rung route.Rung) leg {
	return leg{fill: c.tracker.fill, api: c.Kind.String(), rung: rung}
}

// mistake is why a model is asked once more: its answer does not fit the format.
type mistake struct {
	answer *backend.Answer
	why    error
}

// mistake returns nil for an answer that fits, and for one of which the model cannot be told.
func (c *climb) mistake(got *result) *mistake {
	a := got.answer
	end := a.DoneReason.End()
	cannotDoBetter := end == backend.EndCut || end == backend.EndFiltered || len(a.Text) > markup.MostSearched
	if c.format == nil || got.repaired != "" || len(a.ToolCalls) > 0 || cannotDoBetter {
		return nil
	}
	if _, err := c.format.parse(a.Text); err != nil {
		return &mistake{a, err}
	}
	return nil
}

// fit takes from an answer what fits the format of the request. Where nothing does, the model
// is told and asked once more, and the first answer stands if that fails. The first slot has
// been given back by then: no host waits for the check of an answer.
func (c *climb) fit(ctx context.Context, rung route.Rung, need route.Need, first *result) *result {
	c.findFormat(first.answer)
	m := c.mistake(first)
	if m == nil {
		return first
	}
	before := delay{began: time.Now()}
	var second result
	err := c.lender(rung).With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
		second = *first
		second.answer, second.truncated = nil, nil
		second.granted(lease, &before)
		second.served.Retries += first.served.Retries
		second.repaired = fmt.Sprintf("The first answer did not fit the format (%s), so the model was told and asked again.", m.why)
		err := c.attempt(ctx, rung, 0, lease, &second, m, func() {})
		c.call.attempted(c.leg(rung), lease, second.answer, err)
		return err
	})
	if err != nil {
		return first
	}
	c.findFormat(second.answer)
	return &second
}

// attempt has the host of a lease answer. It asks once, and again only where adapt or improve
// have found what to change in the request. after is the mistake that the model is told of;
// nil for the first request of a rung. onFirst is called when an answer begins.
func (c *climb) attempt(
	ctx context.Context, rung route.Rung, others int, lease *pool.Lease, got *result, after *mistake, onFirst func(),
) (err error) {
	a := &attempt{lease: lease, host: lease.Host, rung: rung, others: others, params: c.params(rung, lease)}
	if c.hedgeAfter(rung) > 0 {
		ctx, a.stop = context.WithCancelCause(ctx)
		defer a.stop(nil)
	}
	if err := c.begin(ctx, a, lease, got, after); err != nil {
		return err
	}
	ctx = c.propagate(ctx, c.call, c.leg(rung), lease)
	defer func() {
		if err != nil {
			a.failed(ctx.Err() != nil, err)
		}
	}()
	if err := c.awaitModel(ctx, a); err != nil {
		return err
	}
	var refused time.Duration // spent on requests that were refused, before the one that was answered
	for {
		sent := time.Now()
		answer, err := c.send(ctx, a, onFirst)
		if err != nil && errors.Is(context.Cause(ctx), errOvertaken) {
			return errOvertaken
		}
		if err != nil {
			if !c.adapt(ctx, a, got, err) {
				return c.fail(ctx, a, got, answer, err)
			}
			if answer == nil {
				refused += time.Since(sent)
			}
			continue
		}
		answer.FirstPiece += refused
		refused = 0
		if !c.improve(ctx, a, got, answer) {
			return nil
		}
	}
}

// adapt changes the request of an attempt that has failed to one that may succeed, and notes
// the change for the caller. It reports whether there is one: a request that does not tell the
// model to think if it thought for too long, one that lets the host cut a prompt that is too
// long for it, or one with a level of thinking that more hosts know. Each change is made once.
func (c *climb) adapt(ctx context.Context, a *attempt, got *result, err error) bool {
	thoughts, isOverlong := errors.AsType[*thoughtTooLong](err)
	switch {
	case isOverlong && a.params.think == nil: // a caller who has asked for thoughts gets them
		a.params.think = &backend.ThinkValue{Value: false}
		got.repaired = thoughts.note()
		a.asksAgain()
	case errors.Is(err, backend.TooLong) && got.truncated == nil && c.mayTruncate(&c.Common):
		a.params.truncate = true
		got.truncated = c.tooLong(ctx, a, &c.Common, c.text, err)
	case errors.Is(err, backend.Request) && a.params.lowerThink(err):
		got.think = a.params.think
		got.lowered = fmt.Sprintf("%s does not know think %q for this model, so it was asked with %s.", a.host.Name(), c.Think.String(), schema.MustMarshal(a.params.think))
	default:
		return false
	}
	return true
}

// improve takes in a complete answer. If it is the first, and consists of thoughts alone, it
// changes the request to one that may get a better answer, and reports that.
func (c *climb) improve(ctx context.Context, a *attempt, got *result, answer *backend.Answer) bool {
	if a.rung.Provider != "" && c.KeepAlive != nil {
		answer.Dropped = append(answer.Dropped, "keep_alive") // nothing in a provider's memory is ours
	}
	if answer.Remote != "" {
		got.served.Source = Cloud
	}
	if got.answer = answer; got.repaired != "" {
		return false
	}
	c.learn(a, got)
	got.clamped = c.clamped(ctx, a)
	if got.repaired = c.repair(&a.params, answer); got.repaired == "" {
		return false
	}
	a.asksAgain()
	return true
}

// fail takes in what there is of an answer that failed, and returns why. But if the host was
// asked again to improve a complete answer, that answer stands.
func (c *climb) fail(ctx context.Context, a *attempt, got *result, answer *backend.Answer, err error) error {
	if got.repaired != "" && got.answer != nil {
		got.repaired = ""
		return nil
	}
	got.answer = answer
	if errors.Is(err, backend.TooLong) {
		return c.tooLong(ctx, a, &c.Common, c.text, err)
	}
	return err
}

// begin has the tracker show an attempt, unless the prompt is far too long for the model. With
// a mistake, the attempt tells the model of it.
func (c *climb) begin(ctx context.Context, a *attempt, lease *pool.Lease, got *result, after *mistake) error {
	if err := c.checkSize(ctx, a); err != nil {
		return err
	}
	if a.rung.Provider == "" {
		got.served.Model = a.params.model
	}
	a.known = *got
	if got.think != nil {
		a.params.think = got.think
	}
	if after != nil {
		a.params.rejected = after.answer.Text
		a.params.complaint = fmt.Sprintf("That does not fit the JSON schema: %s. Answer again, with JSON that fits and nothing else.", after.why)
	}
	c.tracker.begins(a, c.firstPhase(a), lease.Hedge)
	if after != nil {
		a.replaces(after.answer)
	}
	return nil
}

// awaitModel returns when the model of an attempt, if it can do what the request needs, is not
// being loaded for an earlier call.
func (c *climb) awaitModel(ctx context.Context, a *attempt) error {
	if c.images > 0 {
		if err := c.checkVision(ctx, a.host, a.rung.Model); err != nil {
			return err
		}
	}
	return c.loads.await(ctx, a.host.Name(), a.rung.Model)
}

// send has the host of an attempt answer once, and follows the answer as it comes. It fails with
// *thoughtTooLong if it has stopped a model that did nothing but think.
func (c *climb) send(ctx context.Context, a *attempt, onFirst func()) (*backend.Answer, error) {
	thoughts := c.watchThinking(a)
	answer, err := c.exchange(ctx, a, func(piece backend.Piece) {
		n := a.add(piece)
		thoughts.add(piece)
		if n == 1 {
			onFirst()
		}
	})
	if overlong := thoughts.end(); overlong != nil && err != nil && ctx.Err() == nil {
		err = overlong
	}
	if answer != nil {
		c.separateThoughts(answer)
	}
	return answer, err
}

// exchange sends a request to the host of an attempt, and collects the answer.
func (c *climb) exchange(ctx context.Context, a *attempt, onPiece func(backend.Piece)) (*backend.Answer, error) {
	p := &a.params
	if c.Kind == Chat {
		messages := c.Messages
		if p.complaint != "" {
			messages = append(slices.Clip(messages),
				backend.Message{Role: "assistant", Content: p.rejected}, backend.Message{Role: "user", Content: p.complaint})
		}
		return a.host.Chat(ctx, &backend.ChatRequest{
			Model: p.model, Messages: messages, Tools: c.Tools, Format: c.Format,
			Options: p.options, KeepAlive: p.keepAlive, Truncate: &p.truncate, Think: p.think,
			Logprobs: c.Logprobs, TopLogprobs: c.TopLogprobs,
		}, onPiece)
	}
	prompt, think := c.Prompt, p.think
	if len(c.Format) > 0 && a.rung.Provider == "" {
		// Ollama holds a generated text to its format from the first token on, and so would
		// have a model think in JSON. A chat thinks first.
		if think == nil {
			think = &backend.ThinkValue{Value: false}
		} else if think.Bool() && c.Suffix == "" && !c.Raw {
			return a.host.Chat(ctx, c.asChat(p), onPiece)
		}
	}
	if p.complaint != "" {
		prompt += "\n\n" + p.rejected + "\n\n" + p.complaint
	}
	return a.host.Generate(ctx, &backend.GenerateRequest{
		Model: p.model, Prompt: prompt, System: c.System, Suffix: c.Suffix, Raw: c.Raw, Images: c.Images, Format: c.Format,
		Options: p.options, KeepAlive: p.keepAlive, Truncate: &p.truncate, Think: think,
		Logprobs: c.Logprobs, TopLogprobs: c.TopLogprobs,
	}, onPiece)
}

// asChat is a request to generate text as a chat.
func (c *climb) asChat(p *attemptParams) *backend.ChatRequest {
	var messages []backend.Message
	if c.System != "" {
		messages = append(messages, backend.Message{Role: "system", Content: c.System})
	}
	messages = append(messages, backend.Message{Role: "user", Content: c.Prompt, Images: c.Images})
	if p.complaint != "" {
		messages = append(messages, backend.Message{Role: "assistant", Content: p.rejected}, backend.Message{Role: "user", Content: p.complaint})
	}
	return &backend.ChatRequest{
		Model: p.model, Messages: messages, Format: c.Format,
		Options: p.options, KeepAlive: p.keepAlive, Truncate: &p.truncate, Think: p.think,
		Logprobs: c.Logprobs, TopLogprobs: c.TopLogprobs,
	}
}

// learn takes in what a first complete answer tells about the model.
func (c *climb) learn(a *attempt, got *result) {
	c.loads.answered(a.host.Name(), a.rung.Model)
	if got.truncated == nil && !a.params.truncate && c.images == 0 {
		c.tokens.learn(a.rung.String(), c.text, got.answer.PromptTokens)
	}
}

// firstPhase is what a host probably does first when it is asked.
func (c *climb) firstPhase(a *attempt) Progress {
	p := Progress{State: Reading, Host: a.host.Name(), Model: a.rung.Model}
	switch {
	case a.rung.Provider != "":
		p.State, p.Model = Asking, a.rung.String()
	case !c.loads.isWarm(a.host.Name(), a.rung.Model):
		p.State = Loading
	}
	return p
}

// delay is how long a request to the pool has waited for a host that answers.
type delay struct {
	began  time.Time
	queued atomic.Int64 // ns
}

// granted takes in that there is a host, and returns how long all attempts have waited for slots, and
// what was lost otherwise, in ms.
func (d *delay) granted(lease *pool.Lease) (queue, lost int64) {
	queued := time.Duration(d.queued.Add(int64(lease.Waited)))
	return queued.Milliseconds(), max(0, time.Since(d.began)-queued).Milliseconds()
}

// granted takes in what a lease says about the request that has waited for it.
func (r *result) granted(lease *pool.Lease, d *delay) {
	queue, lost := d.granted(lease)
	r.served.Host, r.served.Queue, r.served.Lost = lease.Host.Name(), r.served.Queue+queue, r.served.Lost+lost
	r.served.Retries, r.served.Overridden, r.served.Hedged = lease.Attempt-1, lease.Overridden, lease.Hedge
	if lease.Cloud {
		r.served.Source = Cloud
	}
	if len(lease.Overridden) > 0 {
		r.pinned = overridden(lease)
	}
}

// attempts collects the results of a rung's attempts, of which a hedge makes two at the
// same time.
type attempts struct {
	mu    sync.Mutex // guards what follows
	best  *result    // never nil
	won   bool       // best is that of an attempt that has succeeded
	tried []string   // hosts that were asked
}

// add takes in the result of an attempt. The first success stands. Until there is one,
// the last attempt does, with what one before it has got if it has got nothing itself.
func (all *attempts) add(got *result, err error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.tried = append(all.tried, got.served.Host)
	if all.won {
		return
	}
	if got.answer == nil {
		got.answer, got.truncated = all.best.answer, all.best.truncated
	}
	all.best, all.won = got, err == nil
}

// hedgeAfter is how long a host may take before another is asked too; 0 for never. A
// provider would be paid twice, and work that may take its time needs no second host.
func (c *climb) hedgeAfter(rung route.Rung) time.Duration {
	if rung.Provider != "" || c.Priority != route.Interactive {
		return 0
	}
	if set := c.settings.Models[backend.CanonicalModel(rung.Model)].HedgeAfter; set != nil {
		return *set
	}
	return c.opts.HedgeAfter
}

// attemptParams are the parameters of one request to a host.
type attemptParams struct {
	model     string
	options   map[string]any      // those of the caller as far as the pool allows
	keepAlive *backend.Duration   // nil leaves it to the host
	context   int                 // tokens of context that the host is believed to have chosen for the model; 0 if it has not
	truncate  bool                // the host may cut the prompt
	think     *backend.ThinkValue // nil leaves it to the model

	rejected  string // an answer that did not fit the format, to be done again; "" for none
	complaint string // asks for that; "" for none
}

// params are the parameters with which the host of a lease is first asked.
func (c *climb) params(rung route.Rung, lease *pool.Lease) attemptParams {
	p := attemptParams{
		model: rung.String(), options: leasedOptions(c.Options, lease), context: lease.Context,
		truncate: c.opts.ContextGuard == "off" && c.Truncate == nil, think: c.Think,
	}
	switch {
	case rung.Provider != "":
		p.model = rung.Model
		return p
	case backend.CanonicalModel(c.Model) == rung.Model:
		p.model = c.Model // as the caller names it
	}
	p.keepAlive = c.settings.keepAlive(rung.Model, c.KeepAlive)
	return p
}

// lowerThink changes the parameters to a level of thinking that more hosts know, if it was
// the level that a host has refused. It reports whether there is one.
func (p *attemptParams) lowerThink(err error) bool {
	refused, ok := errors.AsType[*backend.Error](err)
	isAboutLevel := ok && (strings.Contains(refused.Message, "think value") || strings.Contains(refused.Message, "think must be"))
	if !isAboutLevel || p.think == nil || !p.think.IsString() {
		return false
	}
	if p.think.String() == "max" {
		p.think = &backend.ThinkValue{Value: "high"} // Ollama has max since 0.22.0
	} else {
		p.think = &backend.ThinkValue{Value: true} // most models have no levels
	}
	return true
}

// repair changes the parameters to those with which to ask again where a model has only
// thought, and says why; "" if it has answered, or nothing can be done about it.
func (c *climb) repair(p *attemptParams, a *backend.Answer) (why string) {
	const leastThought = 1024 // tokens that a model should have which thinks before it answers
	predict, _ := c.Options["num_predict"].(float64)
	onlyThought := a.DoneReason.End() == backend.EndCut && isEmpty(a) && a.Thinking != ""
	switch {
	case onlyThought && c.Think == nil:
		p.think = &backend.ThinkValue{Value: false}
		return fmt.Sprintf("The model's first answer was empty: %s, so it was asked again and told not to think.", spentOnThinking(a))
	case onlyThought && predict > 0:
		more := max(4*int(predict), leastThought)
		p.options = maps.Clone(p.options)
		p.options["num_predict"] = more
		return fmt.Sprintf("The model's first answer was empty: %s, so it was asked again with num_predict %d.", spentOnThinking(a), more)
	}
	return ""
}

// need is what a request for a rung requires of the pool. Of a provider the settings say
// whether it is a cloud; of a model on our hosts the pool knows, host by host.
func (e *Engine) need(r *Common, rung route.Rung, bytes int, deadline func() time.Time) route.Need {
	return route.Need{
		Model: backend.CanonicalModel(rung.Model), Host: r.Host, LocalOnly: rung.Provider == "" && e.localOnly(r) != nil,
		Runner: runnerOptions(r.Options), RawRunner: e.opts.RawRunner,
		Caller: r.Caller.ID, Priority: r.Priority, Bytes: int64(bytes), Deadline: deadline,
	}
}

// isRunnerOption holds the options that the runner of a model is started with, and that
// make Ollama reload it if they differ (needsReload in its server/sched.go).
var isRunnerOption = map[string]bool{
	"num_ctx": true, "num_batch": true, "num_gpu": true, "main_gpu": true, "use_mmap": true, "num_thread": true,
}

func runnerOptions(wanted map[string]any) map[string]any {
	var runner map[string]any
	for name, value := range wanted {
		if isRunnerOption[name] {
			if runner == nil {
				runner = make(map[string]any)
			}
			runner[name] = value
		}
	}
	return runner
}

// leasedOptions are the options to send with a lease: what the caller wants, except for
// the runner options, on which the pool has decided.
func leasedOptions(wanted map[string]any, lease *pool.Lease) map[string]any {
	sent := make(map[string]any, len(wanted)+len(lease.Runner))
	for name, value := range wanted {
		if !isRunnerOption[name] {
			sent[name] = value
		}
	}
	maps.Copy(sent, lease.Runner)
	return sent
}

// unchecked says which options were sent that this program does not know; "" for none. Those
// that were dropped were not sent.
func unchecked(options map[string]any, dropped []string) string {
	sent := slices.DeleteFunc(backend.UnknownOptions(options), func(name string) bool { return slices.Contains(dropped, name) })
	if len(sent) == 0 {
		return ""
	}
	return "These options are unknown to this server and were sent unchecked: " + strings.Join(sent, ", ") + "."
}

// overridden says which options of the caller have other values: those that are pinned, or
// those that the model is loaded with.
func overridden(lease *pool.Lease) string {
	pinned := make([]string, 0, len(lease.Overridden))
	for _, name := range slices.Sorted(slices.Values(lease.Overridden)) {
		pinned = append(pinned, fmt.Sprintf("%s %v", name, lease.Runner[name]))
	}
	return "The model runs with " + strings.Join(pinned, ", ") + " for all callers, because other values would make it reload."
}

// keepAlive is how long a model is to stay in memory; nil leaves it to the host.
func (s *Settings) keepAlive(model string, wanted *backend.Duration) *backend.Duration {
	if wanted != nil {
		return wanted
	}
	if set := s.Models[backend.CanonicalModel(model)].KeepAlive; set != nil {
		return &backend.Duration{Duration: *set}
	}
	return nil
}
