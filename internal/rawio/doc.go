// Package rawio reads and writes connections by raw system calls.
//
// Before a usual system call, Go's runtime wakes the thread that looks after threads which are
// away for long, if it sleeps, as it does whenever all of the program waits. A program that does
// little but wait for the next token of an answer would pay for that with each token. A read or
// write of a socket that does not block is over at once, and needs nobody who looks after it.
//
// It promises that connections behave as before: deadlines, Close, errors. It makes a
// difference on Linux, and not under the race detector, which would not see what is read.
package rawio
