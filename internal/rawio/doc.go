// Package rawio reads and writes connections by raw system calls.
//
// Go's runtime has a monitor thread, which sleeps while the whole program waits. A usual system
// call wakes it, since the call might block. A program that does little but wait for the next
// token of an answer would pay for that with each token. Reads and writes of a non-blocking socket
// return at once, so there is nothing to monitor.
//
// It promises that connections behave as before: deadlines, Close, errors. It makes a
// difference on Linux only, and not under the race detector, which would not see what is read.
package rawio
