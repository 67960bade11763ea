package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"ollama-mcp/cache"
)

// What has been cleared is a hash of names: that of the time since all was last cleared, and, for
// each model of which the answers were cleared, that of the time since. Records hold the names
// that were in it when they were made, and are of use as long as it has the same. So clearing
// needs no search for records, and a server that has lost the hash has cleared everything.
const (
	// allModels is the field for all models, which no model can be called.
	allModels = "*"
	// begun and byCall begin a name, and say who gave it: a replica that found none, or a call
	// that clears the cache, which has the memory of the replicas cleared too.
	begun  = "begun "
	byCall = "cleared "
	// maxCleared is how many models may have a name. Beyond that everything is cleared instead.
	maxCleared = 1000
)

func (c *Client) keyOfReplicas() string { return c.opts.Prefix + ":replicas" }

func (c *Client) keyOfCleared() string {
	return c.opts.Prefix + ":" + strconv.Itoa(recordVersion) + ":cleared"
}

// keyOf is the key of a record. What belongs to it is on the same node of a cluster.
func (c *Client) keyOf(k cache.Key) string {
	return fmt.Sprintf("%s:%d:{%s}", c.opts.Prefix, recordVersion, c.sealer.name(k.String()))
}

// Get implements cache.Shared.
func (c *Client) Get(ctx context.Context, k cache.Key) (r cache.Record, ok bool) {
	r, ok = c.look(ctx, k)
	c.count(ok)
	return r, ok
}

// count counts a look-up that has ended.
func (c *Client) count(found bool) {
	if found {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
}

// look looks for a record.
func (c *Client) look(ctx context.Context, k cache.Key) (r cache.Record, ok bool) {
	key := c.keyOf(k)
	results, ok := c.do(ctx, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{c.getCleared(b, k), getRecord(b, key)}
	})
	if ok {
		r, ok = c.read(key, k, results[0], results[1])
	}
	return r, ok
}

// getCleared asks for the names that a record must have to be of use.
func (c *Client) getCleared(b rueidis.Builder, k cache.Key) rueidis.Completed {
	return b.Arbitrary("HMGET").Keys(c.keyOfCleared()).Args(allModels, c.sealer.name(k.Scope().Model)).Build()
}

// getRecord asks for a record, but for no more than one can have: a value under our key may be
// another's.
func getRecord(b rueidis.Builder, key string) rueidis.Completed {
	return b.Arbitrary("GETRANGE").Keys(key).Args("0", strconv.Itoa(maxRecord)).Build()
}

// decodeRecord reads a record that getRecord has asked for. It is not ok if there is none, or none of ours.
func (c *Client) decodeRecord(key string, value rueidis.RedisResult) (h header, data []byte, ok bool) {
	text, err := value.ToString()
	if err == nil && text == "" || rueidis.IsRedisNil(err) {
		return h, nil, false
	}
	if err == nil {
		h, data, err = c.sealer.decode(key, []byte(text))
	}
	if err != nil {
		c.noteUnreadable(key, err)
		return h, nil, false
	}
	return h, data, true
}

// read makes a record of what the server has under its key.
func (c *Client) read(key string, k cache.Key, names, value rueidis.RedisResult) (r cache.Record, ok bool) {
	var text string
	list, err := names.ToArray()
	if err == nil {
		text, err = value.ToString()
	}
	if err != nil {
		c.noteUnreadable(key, err)
		return r, false
	}
	era, model := nameIn(list, 0), nameIn(list, 1)
	c.learnCleared(k.Scope().Model, era, model)
	if text == "" {
		return r, false
	}
	h, data, err := c.sealer.decode(key, []byte(text))
	if err == nil && h.Scope != k.Scope() {
		err = errors.New("it is the answer to another request")
	}
	if err != nil {
		c.noteUnreadable(key, err)
		return r, false
	}
	if era == "" || h.Era != era || h.Model != model {
		return r, false // it was cleared
	}
	return cache.Record{Data: data, Took: h.Took, Stored: h.Stored, TTL: c.opts.TTL}, true
}

// nameIn is a name in a list; "" if there is none.
func nameIn(list []rueidis.RedisMessage, i int) string {
	if i >= len(list) {
		return ""
	}
	name, _ := list[i].ToString()
	return name
}

// Set implements cache.Shared.
func (c *Client) Set(ctx context.Context, k cache.Key, r cache.Record) (ok bool) {
	key := c.keyOf(k)
	c.mu.Lock()
	h := header{Scope: k.Scope(), Era: c.cleared[allModels], Model: c.cleared[c.sealer.name(k.Scope().Model)], Took: r.Took, Stored: r.Stored}
	c.mu.Unlock()
	if h.Era == "" || !c.usable.Load() {
		return false
	}
	record, err := c.sealer.encode(key, h, r.Data)
	if errors.Is(err, errTooLarge) {
		c.tooLarge.Add(1)
	}
	if err != nil {
		return false
	}
	ttl := strconv.FormatInt(max(1, c.opts.TTL.Milliseconds()), 10)
	results, ok := c.do(ctx, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("SET").Keys(key).Args(rueidis.BinaryString(record), "PX", ttl).Build()}
	})
	if !ok {
		return false
	}
	err = refusal(results[0])
	if err != nil {
		c.noteWrite(err)
	}
	return err == nil
}

// Clear implements cache.Shared.
func (c *Client) Clear(ctx context.Context, model string) (told bool) {
	field := allModels
	if model != "" {
		field = c.sealer.name(model)
	}
	c.mu.Lock()
	if _, known := c.cleared[field]; !known && len(c.cleared)+len(c.unsent) >= maxCleared {
		field = allModels
	}
	c.unsent[field] = true
	c.mu.Unlock()
	if !c.usable.Load() || c.beat(ctx) != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.unsent[field]
}

// OnClear implements cache.Shared.
func (c *Client) OnClear(forget func(isOf func(model string) bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onClear = append(c.onClear, forget)
}

// learnCleared takes over what a look-up has found of what was cleared.
func (c *Client) learnCleared(model, era, name string) {
	c.mu.Lock()
	known := c.cleared != nil && c.cleared[allModels] == era && c.cleared[c.sealer.name(model)] == name
	c.mu.Unlock()
	if !known {
		c.poke() // the beat has the memory of this replica cleared, if that is due
	}
}

// hearCleared takes over what has been cleared, and has the memory of this replica cleared of it.
// What was cleared before this replica began, or by a server that has lost its memory, is nothing
// that a caller has asked for.
func (c *Client) hearCleared(now map[string]string) {
	c.mu.Lock()
	was, onClear := c.cleared, c.onClear
	c.cleared = now
	c.mu.Unlock()
	if was == nil {
		return
	}
	for field, name := range now {
		if was[field] == name || !strings.HasPrefix(name, byCall) {
			continue
		}
		for _, forget := range onClear {
			forget(func(model string) bool { return field == allModels || c.sealer.name(model) == field })
		}
	}
}

const (
	// leaseTime is for how long others believe that an answer is being made, and renewInterval
	// how often they are told so.
	leaseTime     = 3 * time.Second
	renewInterval = time.Second
	// aloneTime is for how long others know that an answer was made that nobody may share.
	aloneTime = time.Second
	// maxFillers is how many replicas are waited for in turn, if none leaves an answer.
	maxFillers = 2
	// A replica that waits looks again after an eighth of the time that it has waited so far,
	// within these bounds.
	minLook, maxLook = 5 * time.Millisecond, 250 * time.Millisecond
)

// alone is the value of a lease whose answer may not be shared.
const alone = "alone"

// Join implements cache.Shared.
func (c *Client) Join(ctx context.Context, k cache.Key, flight string, until time.Time) (r cache.Record, ok bool, leave func(cache.End)) {
	defer func() { c.count(ok) }()
	none := func(cache.End) {}
	if r, ok = c.look(ctx, k); ok {
		return r, true, none
	}
	sum := sha256.Sum256([]byte(flight))
	l := &lease{Client: c, k: k, key: c.keyOf(k), began: time.Now(), token: rand.Text()}
	l.name = l.key + ":lease:" + hex.EncodeToString(sum[:8])
	for range maxFillers + 1 {
		r, is := l.take(ctx)
		if is == taken {
			r, is = l.wait(ctx, until)
		}
		switch is {
		case there:
			return r, true, none
		case ours:
			return r, false, l.hold()
		case nobodys:
			return r, false, none
		}
	}
	return r, false, none
}

// lease is the right to make an answer while the others wait for it.
type lease struct {
	*Client
	k     cache.Key
	key   string // of the record
	name  string // of the lease's own key
	token string // which tells this lease from that of another replica
	began time.Time
}

// outcome is how it stands with an answer that a replica would make.
type outcome int

const (
	nobodys outcome = iota // make it without a lease: there is none to be had, or none of use
	ours                   // make it, the others wait
	taken                  // another replica makes it
	there                  // it has been made
	free                   // the replica that made it has given up
)

// take takes the lease, unless the answer or another's lease is there.
func (l *lease) take(ctx context.Context) (r cache.Record, is outcome) {
	results, ok := l.do(ctx, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{
			b.Arbitrary("SET").Keys(l.name).Args(l.token, "NX", "PX", milliseconds(leaseTime)).Build(),
			l.getCleared(b, l.k), getRecord(b, l.key),
		}
	})
	if !ok {
		return r, nobodys
	}
	if err := refusal(results[0]); err != nil {
		l.noteWrite(err)
		return r, nobodys
	}
	isOurs := results[0].Error() == nil
	if r, ok := l.read(l.key, l.k, results[1], results[2]); ok { // since the look-up before
		if isOurs {
			l.give(cache.Stored)
		}
		return r, there
	}
	if isOurs {
		return r, ours
	}
	return r, taken
}

// wait waits while another replica makes the answer.
func (l *lease) wait(ctx context.Context, until time.Time) (r cache.Record, is outcome) {
	for {
		pause := min(max(time.Since(l.began)/8, minLook), maxLook)
		if !until.IsZero() && time.Now().Add(pause).After(until) {
			return r, nobodys
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return r, nobodys
		}
		results, ok := l.do(ctx, func(b rueidis.Builder) rueidis.Commands {
			return rueidis.Commands{b.Arbitrary("GET").Keys(l.name).Build(), l.getCleared(b, l.k), getRecord(b, l.key)}
		})
		if !ok {
			return r, nobodys
		}
		if r, ok := l.read(l.key, l.k, results[1], results[2]); ok {
			return r, there
		}
		switch holder, err := results[0].ToString(); {
		case rueidis.IsRedisNil(err):
			return r, free
		case err != nil || holder == alone:
			return r, nobodys
		}
	}
}

// hold keeps the lease until the function that it returns is called.
func (l *lease) hold() (leave func(cache.End)) {
	stop := make(chan struct{})
	go func() {
		renew := time.NewTicker(renewInterval)
		defer renew.Stop()
		for {
			select {
			case <-renew.C:
				l.change("pexpire", milliseconds(leaseTime))
			case <-stop:
				return
			}
		}
	}()
	return func(how cache.End) {
		close(stop)
		l.give(how)
	}
}

// give gives the lease back.
func (l *lease) give(how cache.End) {
	if how == cache.NotShared {
		l.change("set", alone, "PX", milliseconds(aloneTime))
		return
	}
	l.change("del")
}

// ifOurs runs a command on the key of a lease, if the lease is still ours: a replica that was
// stopped for a while may have been replaced.
const ifOurs = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call(ARGV[2], KEYS[1], unpack(ARGV, 3)) end return 0`

// change changes the lease, if it is still ours. If the server cannot be told, the lease expires.
func (l *lease) change(command string, args ...string) {
	_, _ = l.do(l.life, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{b.Arbitrary("EVAL").Args(ifOurs, "1").Keys(l.name).Args(l.token, command).Args(args...).Build()}
	})
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
