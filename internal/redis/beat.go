package redis

import (
	"context"
	"crypto/rand"
	"maps"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

const (
	// goneAfter is how long nothing may be heard of a replica that still counts.
	goneAfter = 5 * time.Second
	// forgottenAfter is when a replica of which nothing was heard is removed.
	forgottenAfter = time.Minute
)

// replicas are the replicas that have been heard of, by their id. Each counts its own beats, and
// the others look when the count last changed, so that no two clocks are compared.
type replicas map[string]heard

type heard struct {
	beat string
	at   time.Time // when the beat changed; the zero Time until it has changed once
	seen time.Time // when the replica was first seen with this beat
}

// hear takes over the beats of all replicas, and returns those that are long gone.
func (r replicas) hear(beats map[string]string, now time.Time) (gone []string) {
	for id, beat := range beats {
		was, known := r[id]
		switch {
		case !known:
			r[id] = heard{beat: beat, seen: now}
		case was.beat != beat:
			r[id] = heard{beat: beat, at: now, seen: now}
		case now.Sub(was.seen) > forgottenAfter:
			gone = append(gone, id)
		}
	}
	maps.DeleteFunc(r, func(id string, h heard) bool {
		_, listed := beats[id] // a server that has lost its memory lists no replica until that beats
		return !listed && now.Sub(h.seen) > goneAfter
	})
	return gone
}

// missed makes up for a time in which nobody could be heard.
func (r replicas) missed(gap time.Duration) {
	for id, h := range r {
		if !h.at.IsZero() {
			h.at, h.seen = h.at.Add(gap), h.seen.Add(gap)
			r[id] = h
		}
	}
}

// countReplicas is how many replicas there are, or were when the server could last be reached, this
// one included. mu is held.
func (c *Client) countReplicas(now time.Time) int {
	if !c.usable.Load() {
		return max(1, c.seen)
	}
	return c.countBeating(now)
}

// countBeating is how many replicas have been heard of lately, this one included. mu is held.
func (c *Client) countBeating(now time.Time) int {
	n := 1
	for id, h := range c.replicas {
		if id != c.id && h.beats(now) {
			n++
		}
	}
	return n
}

func (h heard) beats(now time.Time) bool { return !h.at.IsZero() && now.Sub(h.at) <= goneAfter }

// isBeating reports whether a replica has been heard of lately.
func (c *Client) isBeating(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replicas[id].beats(time.Now())
}

// beat says that this replica is there, and hears of the others and of what has been cleared. It
// fails if the server does not answer in time, or refuses to tell.
func (c *Client) beat(ctx context.Context) error {
	c.mu.Lock()
	c.beats++
	count, unsent := strconv.Itoa(c.beats), maps.Clone(c.unsent)
	c.mu.Unlock()
	results, err := c.send(ctx, commandTime, func(b rueidis.Builder) rueidis.Commands {
		all := rueidis.Commands{
			b.Arbitrary("HSET").Keys(c.keyOfReplicas()).Args(c.id, count).Build(),
			// Records belong to the time since all was last cleared, which has to have a name.
			b.Arbitrary("HSETNX").Keys(c.keyOfCleared()).Args(allModels, begun+rand.Text()).Build(),
		}
		for model := range unsent {
			all = append(all, b.Arbitrary("HSET").Keys(c.keyOfCleared()).Args(model, byCall+rand.Text()).Build())
		}
		return append(all,
			b.Arbitrary("HGETALL").Keys(c.keyOfReplicas()).Build(),
			b.Arbitrary("HGETALL").Keys(c.keyOfCleared()).Build())
	})
	if err != nil {
		return err
	}
	c.noteWrite(refusal(results[0]))
	beats, err := results[len(results)-2].AsStrMap()
	if err != nil {
		return err
	}
	cleared, err := results[len(results)-1].AsStrMap()
	if err != nil {
		return err
	}
	c.mu.Lock()
	now := time.Now()
	if gap := now.Sub(c.heardAt); gap > goneAfter {
		c.replicas.missed(gap)
	}
	c.heardAt = now
	gone := c.replicas.hear(beats, now)
	c.seen = c.countBeating(now)
	for i := range len(unsent) {
		if refusal(results[2+i]) != nil {
			clear(unsent) // they are tried again
		}
	}
	for model := range unsent {
		delete(c.unsent, model)
	}
	c.mu.Unlock()
	c.hearCleared(cleared)
	if len(gone) > 0 {
		_, _ = c.send(ctx, commandTime, func(b rueidis.Builder) rueidis.Commands {
			return rueidis.Commands{
				b.Arbitrary("HDEL").Keys(c.keyOfReplicas()).Args(gone...).Build(),
				b.Arbitrary("HDEL").Keys(c.keyOfNews()).Args(gone...).Build(),
			}
		})
	}
	return nil
}
