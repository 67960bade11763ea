// Package route says what a request needs of a host.
//
// It will hold the rungs of a request and the policies that order the hosts;
// with one host there is nothing to order yet. It has no lock, clock or network.
package route

import "time"

// Need is what a request asks of the pool.
type Need struct {
	Model string // as backend.CanonicalModel spells it; "" for any host
	Bytes int64  // size of the request, counted while it waits; 0 counts as nothing

	// OnWait, if set, is called once, before a request starts to wait for a free
	// slot. The function that it is given may be called at any time, from any
	// goroutine, and tells how the wait stands.
	OnWait func(standing func() Standing)
}

// Standing is the place of a waiting request.
type Standing struct {
	Place  int           // 1 is next; 0 means that it waits no more
	Of     int           // requests waiting, this one included
	Expect time.Duration // expected rest of the wait; 0 if nothing is known yet
}
