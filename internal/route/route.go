// Package route says what a request needs of a host, and which hosts to ask first.
//
// It promises that a policy only sorts a list of facts: no lock, clock or network.
// Gathering the facts, leaving out hosts that cannot serve a request, and asking the
// first is left to package pool.
package route

import (
	"fmt"
	"time"
)

// Need is what a request asks of the pool.
type Need struct {
	Model string // as backend.CanonicalModel spells it; "" for any host that is up
	Host  string // name of the only host that may serve it; "" for any
	// LocalOnly says that the request may not leave for a cloud: no host serves it that
	// would pass it on to one.
	LocalOnly bool
	// Tried names hosts that did not answer it when it was asked before. They serve it
	// only if no other can that is well; nil for none.
	Tried []string

	// Runner holds the options that the runner of a model is started with, such as
	// num_ctx, as the caller wants them; nil for none. A host that runs the model with
	// other options has to load it anew.
	Runner    map[string]any
	RawRunner bool // send Runner as it is, even where options are pinned for the model

	// Prefixes are the hashes of the beginnings of the prompt, as package affinity makes them. Among
	// hosts that are equally good, those are preferred that have read the longest of them; nil
	// prefers none.
	Prefixes []uint64

	Caller   string   // whose share of the queue this is; "" is a caller like others
	Priority Priority // Interactive, unless said otherwise
	Bytes    int64    // size of the request, counted while it waits; 0 counts as nothing

	// Deadline, if set, returns when the time of the request is over, or the zero Time for
	// never. The earlier of this and the deadline of the context counts. It may move later
	// while the request waits or is worked on, as it does when a caller with more time
	// joins, so it is read whenever it decides something: from any goroutine, and under the
	// pool's lock, where it must neither block nor use the pool. It ends nothing by itself: when
	// it passes, the caller ends the context, with the cause context.DeadlineExceeded.
	Deadline func() time.Time

	// MaxPause is how long the request waits for a host that has asked to be left alone, as
	// with Retry-After. A longer one makes it fail at once; 0 means a minute.
	MaxPause time.Duration

	// OneCrash says that the request may crash the model, and is not tried again after it has
	// done so once.
	OneCrash bool

	// HedgeAfter is how long a host may take to begin its answer before another is asked
	// beside it, if one is idle that holds the model, and the first to answer is taken;
	// 0 for never. It is for requests that may be asked twice at once.
	HedgeAfter time.Duration

	// The functions below observe the request; nil ones cost nothing. They are called in the
	// order of what happens, without the pool's lock, by the goroutine that works on the
	// request or on its hedge, and hold it up.

	// OnWait is called before an attempt waits for a free slot, with how the wait stands. The
	// function tells that at any later time, and may be called from any goroutine.
	OnWait func(now Standing, later func() Standing)
	// OnGrant is called when an attempt, or a hedge beside it, has been given a slot.
	OnGrant func(Grant)
	// OnFirst is called when the first piece of an answer comes from a host. Embeddings come
	// in one piece, of which it is not told.
	OnFirst func(First)
	// OnRetry is called when an attempt has failed, before the pause that the next follows.
	OnRetry func(Retry)
}

// Priority is a class of requests. A free slot goes to the first class that waits for
// it, save a share for the others.
type Priority int

// The priorities, most urgent first.
const (
	Interactive Priority = iota // somebody waits for the answer
	Batch                       // work that may take its time
)

func (p Priority) String() string {
	if p == Batch {
		return "batch"
	}
	return "interactive"
}

// Standing is the place of a waiting request.
type Standing struct {
	Place  int           // 1 is next; 0 means that it waits no more
	Of     int           // requests waiting, this one included
	Expect time.Duration // expected rest of the wait; 0 if nothing is known yet
	// Loading says that the wait is for the model, which a host loads for another
	// request, and no other that could serve it now has in memory.
	Loading bool
	Batch   bool // its priority is Batch
}

// Grant is a slot that was given to a request.
type Grant struct {
	Host    string
	Attempt int           // 1 for the first
	Hedge   bool          // it is for a second host, beside one that is late
	Waited  time.Duration // for the slot; 0 if one was free, and for a hedge
	Choice  Choice
}

// Choice is what was known of a host when it was chosen for a request, and of the others that
// could have had it. It holds no pointers to anything that changes, so that it may be kept.
type Choice struct {
	Policy string // that ordered the hosts
	Free   int    // hosts that could have taken the request at once; 0 for a request that had to wait
	Warm   int    // those of Free with the model in memory
	IsWarm bool   // the host has the model in memory
	IsRead bool   // the host was preferred because it has read the beginning of the prompt
	Busy   int    // calls on the host, without this one
	Slots  int    // calls that it is given at once
	// Instead is the host that the policy preferred, and that was passed over because it has
	// failed or may hang; "" for none.
	Instead string
	// Latency is what a call has taken on the host of late; 0 if nothing is known.
	Latency time.Duration
}

// String says why the host was chosen, in words for people.
func (c Choice) String() string {
	memory := "it has to load the model"
	if c.IsWarm {
		memory = "it has the model in memory"
	}
	load := fmt.Sprintf("%d of %d slots were in use", c.Busy, c.Slots)
	switch {
	case c.Slots == 0: // nobody chose
		return ""
	case c.Free == 0:
		return fmt.Sprintf("first host with a free slot when the turn of this call came; %s, %s", memory, load)
	case c.Free == 1:
		return fmt.Sprintf("only host with a free slot for it; %s, %s", memory, load)
	}
	why := fmt.Sprintf("%s among %d hosts with a free slot; %s", c.Policy, c.Free, memory)
	if c.IsWarm {
		why += fmt.Sprintf(" (as %d of them do)", c.Warm)
	}
	why += ", " + load
	if c.IsRead {
		why += ", it has read the beginning of the prompt before"
	}
	if c.Latency > 0 {
		why += fmt.Sprintf(", recent calls took %v", c.Latency.Round(time.Millisecond))
	}
	if c.Instead != "" {
		why += fmt.Sprintf("; %s was passed over, since it failed a moment ago or may hang", c.Instead)
	}
	return why
}

// First is the beginning of an answer.
type First struct {
	Host    string
	Attempt int
	Hedge   bool
	After   time.Duration // since the slot was given, loading the model included
}

// Retry announces that a request is tried again.
type Retry struct {
	Host    string        // that failed
	Attempt int           // that failed; 1 for the first
	Err     error         // what went wrong there
	In      time.Duration // until the next attempt; 0 for at once
}
